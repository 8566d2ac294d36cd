//! Stages: how much load for how long.

use std::time::Duration;

use super::{Fault, MAX_STAGES, Scope, scope::Given};
use crate::{
    course::Course,
    plan::{DEFAULT_DURATION, Load, MAX_CONNECTIONS, MAX_DURATION, Options, Stage},
    rate::MAX_RATE,
};

/// The load of a scenario, and its stages if it has several.
pub(super) struct Loads {
    pub(super) load: Load,
    pub(super) stages: Vec<Stage>,
}

/// Who sets the pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connections,
    Rate,
}

/// A level at the beginning and at the end of a stage.
#[derive(Clone, Copy)]
struct Level {
    kind: Kind,
    from: f64,
    to: f64,
}

/// A stage as it was written.
struct Written {
    name: String,
    duration: Duration,
    level: Level,
}

/// Reads `stages`, or what stands for the only one. Sets how many connections there are, and how
/// long it takes.
pub(super) fn read(scope: &Scope<'_>, options: &mut Options) -> Option<Loads> {
    let rate = scope.get("rate").map(|given| (level(&given, Kind::Rate), given));
    let duration = scope.get("duration");
    let common = Level {
        kind: Kind::Connections,
        from: options.connections as f64,
        to: options.connections as f64,
    };
    let Some(given) = scope.get("stages") else {
        let length = match duration {
            Some(given) => given.duration(Duration::from_millis(1)..=MAX_DURATION)?,
            None => DEFAULT_DURATION,
        };
        let level = match rate {
            Some((level, _)) => level?,
            None => common,
        };
        let stage = Written { name: String::new(), duration: length, level };
        let stages = [stage];
        check_warm_up(scope, &stages, options);
        return Some(finish(&stages, options));
    };
    for (key, given) in [("rate", rate.map(|(_, given)| given)), ("duration", duration)] {
        if let Some(given) = given {
            let fault = Fault::new(format!("`{key}` is said by each of the stages"));
            given.fault(fault.hint("move it into them"));
        }
    }
    let list = given.list()?;
    if list.is_empty() || list.len() > MAX_STAGES {
        let fault = format!("there are {} stages; 1 to {MAX_STAGES} make sense", list.len());
        given.fault(Fault::new(fault));
        return None;
    }
    let stages: Vec<_> =
        list.iter().enumerate().map(|(index, given)| stage(index, given, &common)).collect();
    let stages: Option<Vec<_>> = stages.into_iter().collect();
    let stages = stages?;
    one_kind(&list, &stages)?;
    check_warm_up(scope, &stages, options);
    Some(finish(&stages, options))
}

fn stage(index: usize, given: &Given<'_>, common: &Level) -> Option<Written> {
    let scope = given.table()?;
    let name = match scope.get("name") {
        Some(given) => given.text().map(str::to_owned),
        None => Some((index + 1).to_string()),
    };
    let duration = scope.required("duration", "say how long the stage takes: duration = \"30s\"");
    let duration =
        duration.and_then(|given| given.duration(Duration::from_millis(1)..=MAX_DURATION));
    let connections = scope.get("connections");
    let level = match (scope.get("rate"), connections) {
        (Some(rate), Some(connections)) => {
            connections.fault(
                Fault::new("a stage has either `rate` or `connections`")
                    .hint("with a rate, `connections` stands at the top of the file"),
            );
            level(&rate, Kind::Rate)
        }
        (Some(given), None) => level(&given, Kind::Rate),
        (None, Some(given)) => level(&given, Kind::Connections),
        (None, None) => Some(*common),
    };
    Some(Written { name: name?, duration: duration?, level: level? })
}

/// `500`, or `"0..500"` for a ramp.
fn level(given: &Given<'_>, kind: Kind) -> Option<Level> {
    let text = given.text_or_number()?;
    let (from, to) = text.split_once("..").unwrap_or((&text, &text));
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if plain { text.parse::<f64>().ok() } else { None }
    };
    let (what, most, whole) = match kind {
        Kind::Connections => ("connections", MAX_CONNECTIONS as f64, true),
        Kind::Rate => ("requests a second", MAX_RATE, false),
    };
    let levels = number(from.trim()).zip(number(to.trim()));
    let fits = |level: f64| (0.0..=most).contains(&level) && (!whole || level.fract() == 0.0);
    match levels.filter(|&(from, to)| fits(from) && fits(to)) {
        Some((from, to)) => Some(Level { kind, from, to }),
        None => {
            given.fault(
                Fault::new(format!("`{text}` is no number of {what} from 0 to {most}"))
                    .hint("write 100, or \"10..100\" for a ramp"),
            );
            None
        }
    }
}

/// All stages have to set the pace in the same way.
fn one_kind(list: &[Given<'_>], stages: &[Written]) -> Option<()> {
    let first = stages.first()?.level.kind;
    let other = stages.iter().position(|stage| stage.level.kind != first);
    match other {
        None => Some(()),
        Some(index) => {
            list[index].fault(
                Fault::new("some stages have a `rate`, others `connections`")
                    .hint("give all of them the one or the other"),
            );
            None
        }
    }
}

fn check_warm_up(scope: &Scope<'_>, stages: &[Written], options: &Options) {
    let starts_at_nothing = stages.first().is_some_and(|stage| stage.level.from == 0.0);
    if starts_at_nothing
        && !options.warm_up.is_zero()
        && let Some(given) = scope.get("warm_up")
    {
        given.fault(
            Fault::new("the load begins at 0, which is what it is warmed up with")
                .hint("leave out `warm_up`, or begin at 1"),
        );
    }
}

fn finish(stages: &[Written], options: &mut Options) -> Loads {
    let course = stages.iter().map(|stage| (stage.duration, stage.level.from, stage.level.to));
    let course = Course::new(course);
    options.duration = Some(stages.iter().map(|stage| stage.duration).sum());
    let load = match stages.first().map(|stage| stage.level.kind) {
        Some(Kind::Rate) => Load::Open(course),
        _ => {
            options.connections = (course.peak() as usize).max(1);
            Load::Closed(course)
        }
    };
    let of = |stage: &Written| Stage { name: stage.name.clone(), duration: stage.duration };
    let stages = if stages.len() > 1 { stages.iter().map(of).collect() } else { Vec::new() };
    Loads { load, stages }
}
