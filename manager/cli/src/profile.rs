//! `bs9 profile`: a service, watched for a while.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use bs9_api::{
    DataPlaneClient, ManagerClient, Process,
    socket::find,
    types::{HostStatus, SCHEMA, ServiceCluster, ServiceStatus, ServiceUsage},
};
use clap::Args;
use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    history,
    interval::Interval,
    runtime::{self, Stop},
    span::Span,
    terminal,
};

mod advice;
mod figure;
mod flame;
mod outcome;
mod perf;
mod show;
mod stacks;
mod traffic;
mod window;

use advice::Facts;
use outcome::{Flame, Profile, Told};
use perf::{Perf, Recording};
use traffic::Counters;
use window::Window;

const EXAMPLES: &str = "\
Examples:
  bs9 profile api                          half a minute, a look each second
  bs9 profile api -d 10m -i 5s             slow growth shows
  bs9 profile api --flame api.svg          and where its processor time goes, by perf
  bs9 profile api --json | jq '.recommendations[].text'

Run it while the service has something to do. CPU, memory, I/O and pressure are its control group's, as
long as the kernel accounts for them, else added up over its processes; a figure that is not available has
a reason instead of a number. Requests, times and errors are what the data plane counted of its cluster in
the window. Each recommendation cites the numbers it follows from. Ctrl-C ends it early, with what was seen.

The flame graph needs perf (Debian: linux-perf) and the right to use it. Exit code 3 when there is no such
service; with --flame 7 when perf is missing and 4 when it may not be used.";

/// Looks of one profile: ten hours of one a second.
const MAX_LOOKS: f64 = 36_000.0;

/// What is watched, and for how long.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service.
    #[arg(required_unless_present = "service")]
    name: Option<String>,
    /// Likewise.
    #[arg(long, short, value_name = "NAME", conflicts_with = "name")]
    service: Option<String>,
    /// For how long.
    #[arg(long, short, value_name = "SPAN", default_value = "30s")]
    duration: Span,
    /// Between two looks, from 100ms on.
    #[arg(long, short, value_name = "SPAN", default_value = "1s")]
    interval: Interval,
    /// Draw a flame graph: an SVG of the stacks that perf saw.
    #[arg(long, value_name = "FILE")]
    flame: Option<PathBuf>,
    /// Likewise, to NAME.svg in this folder.
    #[arg(long, conflicts_with = "flame")]
    flamegraph: bool,
    /// How many times a second perf looks at stacks.
    #[arg(long, value_name = "HERTZ", default_value_t = 99,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    frequency: u32,
    /// Functions listed with a flame graph, at most.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    top: usize,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let name = arguments.name.as_ref().or(arguments.service.as_ref());
    let name = name.ok_or_else(|| Failure::new(Exit::Usage, "name a service"))?;
    let duration = Duration::from_secs(arguments.duration.0);
    let every = arguments.interval.0;
    if every > duration {
        return Err(Failure::new(Exit::Usage, "--interval is longer than --duration")
            .hint("a number without a unit is seconds; write 1000ms for milliseconds"));
    }
    if duration.as_secs_f64() / every.as_secs_f64() > MAX_LOOKS {
        return Err(Failure::new(Exit::Usage, "that is more than 36,000 looks")
            .hint("take a longer --interval, or a shorter --duration"));
    }
    let file = arguments.flame.clone();
    let file = file.or_else(|| arguments.flamegraph.then(|| PathBuf::from(format!("{name}.svg"))));
    let perf = Perf::find(arguments.frequency);
    let (perf, no_flame) = match (perf, &file) {
        (Ok(perf), Some(_)) => (Some(perf), Flame::NotAsked),
        (Ok(_), None) => (None, Flame::NotAsked),
        (Err(missing), Some(_)) => return Err(missing.failure()),
        (Err(missing), None) => (None, missing.into()),
    };
    let profile = runtime::block_on(async {
        let mut stop = Stop::new()?;
        let mut watch = Watch::begin(name, global).await?;
        let mut recording = match perf {
            Some(perf) => Some(perf.record(&watch.pids().await?, arguments.frequency)?),
            None => None,
        };
        watch.look_on(duration, every, &mut recording, &mut stop).await?;
        let flame = match (recording, file) {
            (Some(recording), Some(file)) => {
                let stacks = recording.finish(&mut stop).await?;
                draw(&stacks, name, file, arguments.top)?
            }
            _ => no_flame,
        };
        watch.end(flame, every).await
    })?;
    if global.json {
        return terminal::json(&profile);
    }
    show::profile(&profile)
}

fn draw(stacks: &stacks::Stacks, name: &str, file: PathBuf, top: usize) -> Result<Flame, Failure> {
    fs::write(&file, flame::draw(stacks, name))
        .map_err(|error| Failure::io(format!("cannot write {}", file.display()), error))?;
    Ok(Flame::Drawn {
        file: file.display().to_string(),
        samples: stacks.root.all,
        nameless_ratio: stacks.nameless_ratio(),
        hottest: stacks.hottest(top),
    })
}

/// The cluster that a service's requests go through.
fn front(service: &ServiceStatus) -> Result<&ServiceCluster, String> {
    let none = || "the service has no port, so the data plane does not front it".to_owned();
    service.cluster.as_ref().ok_or_else(none)
}

async fn counters(
    data_plane: &DataPlaneClient,
    service: &ServiceStatus,
) -> Result<Counters, String> {
    let cluster = front(service)?;
    let text = data_plane.metrics().await.map_err(|error| error.to_string())?;
    let routes = cluster.route.as_deref().map(traffic::route_names).unwrap_or_default();
    Ok(Counters::read(&text.0, &cluster.cluster, &routes))
}

/// A service while it is watched.
struct Watch {
    manager: ManagerClient,
    data_plane: DataPlaneClient,
    service: ServiceStatus,
    from: Timestamp,
    begun: Instant,
    ended: Duration,
    before: Result<Counters, String>,
    after: Result<Counters, String>,
    window: Window,
    programs: BTreeSet<String>,
    remarks: Vec<String>,
    host: HostStatus,
}

impl Watch {
    async fn begin(name: &str, global: &Global) -> Result<Self, Failure> {
        let manager = history::manager(global);
        let service = manager.service(name).await?.service;
        if !service.instances.iter().any(|one| one.active_state == "active") {
            let text = format!("no instance of {name} runs: it is {}", service.state.as_str());
            let start = format!("`bs9 start {name}` starts it, `bs9 status {name}` says more");
            return Err(Failure::new(Exit::Error, text).hint(start));
        }
        let data_plane = DataPlaneClient::unix(find(Process::DataPlane, None));
        let host = manager.host().await?;
        let before = counters(&data_plane, &service).await;
        Ok(Self {
            manager,
            data_plane,
            service,
            from: Timestamp::now(),
            begun: Instant::now(),
            ended: Duration::ZERO,
            before,
            after: Err("it was not looked at".to_owned()),
            window: Window::default(),
            programs: BTreeSet::new(),
            remarks: Vec::new(),
            host,
        })
    }

    async fn pids(&self) -> Result<Vec<u32>, Failure> {
        let usage = self.manager.service_usage(&self.service.name).await?;
        let processes = usage.instances.iter().flat_map(|one| &one.processes);
        let pids: Vec<u32> = processes.map(|process| process.pid).collect();
        match pids.is_empty() {
            true => Err(Failure::new(Exit::Error, "the service has no process to record")),
            false => Ok(pids),
        }
    }

    async fn look_on(
        &mut self,
        duration: Duration,
        every: Duration,
        recording: &mut Option<Recording>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let mut progress = Progress::begin(&self.service.name, duration, every);
        let mut ticks = interval(every);
        // A look that was late makes the next one late, not two at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                name = stop.wait() => {
                    self.remarks.push(format!("ended early by {name}"));
                    break;
                }
            }
            self.look().await;
            if let Some(fault) = recording.as_mut().and_then(Recording::fault) {
                progress.end();
                return Err(fault);
            }
            progress.show(self.begun.elapsed(), &self.window);
            // Half an interval, so that the last look is not missed by a hair.
            if self.begun.elapsed() + every / 2 > duration {
                break;
            }
        }
        progress.end();
        self.ended = self.begun.elapsed();
        self.after = counters(&self.data_plane, &self.service).await;
        if self.window.looks == 0 {
            let why = self.remarks.pop().unwrap_or_default();
            return Err(Failure::new(Exit::Error, format!("nothing was seen: {why}")));
        }
        Ok(())
    }

    /// One look; what cannot be seen is remarked, once.
    async fn look(&mut self) {
        match self.manager.service_usage(&self.service.name).await {
            Ok(usage) => {
                self.programs.extend(programs(&usage));
                let requests = self.requests().await;
                self.window.add(self.begun.elapsed().as_secs_f64(), usage, requests);
            }
            Err(error) => {
                let remark = format!("a look failed: {error}");
                if !self.remarks.contains(&remark) {
                    self.remarks.push(remark);
                }
            }
        }
    }

    /// What the endpoints of its cluster have taken.
    async fn requests(&self) -> Result<u64, String> {
        let cluster = &front(&self.service)?.cluster;
        let found = self.data_plane.cluster(cluster).await.map_err(|error| error.to_string())?;
        Ok(found.cluster.endpoints.iter().map(|endpoint| endpoint.requests_total).sum())
    }

    /// What was seen, and what follows.
    async fn end(mut self, flame: Flame, every: Duration) -> Result<Profile, Failure> {
        let seconds = self.ended.as_secs_f64();
        let traffic = front(&self.service).and_then(|cluster| {
            let (before, after) = (self.before.as_ref(), self.after.as_ref());
            after.map_err(Clone::clone)?.since(
                before.map_err(Clone::clone)?,
                &cluster.cluster,
                seconds,
            )
        });
        let traffic = match traffic {
            Ok(traffic) => Told::There(traffic),
            Err(reason) => Told::Not { reason },
        };
        if let Flame::Drawn { nameless_ratio, .. } = &flame {
            self.remarks.extend(nameless(*nameless_ratio, &self.programs));
        }
        if self.window.left_out > 0 {
            let left_out = self.window.left_out;
            self.remarks.push(format!("{left_out} more instances were not looked at"));
        }
        // How busy the machine is now, with the service still at its work.
        if let Ok(host) = self.manager.host().await {
            self.host = host;
        }
        let (figures, instances) = (self.window.figures(), self.window.instances());
        let recommendations = advice::advise(&Facts {
            service: &self.service.name,
            figures: &figures,
            instances: &instances,
            limits: self.window.limits,
            oom_kills: self.window.oom_kills,
            traffic: traffic.there(),
            host_cores: self.host.cores.value,
            host_busy_cores: self.host.cpu_ratio.value,
        });
        Ok(Profile {
            schema: SCHEMA,
            service: self.service.name,
            state: self.service.state.as_str().to_owned(),
            from: self.from,
            to: self.from + self.ended,
            interval_seconds: every.as_secs_f64(),
            looks: self.window.looks,
            figures,
            limits: self.window.limits,
            oom_kills: self.window.oom_kills,
            instances,
            traffic,
            flame,
            recommendations,
            remarks: self.remarks,
        })
    }
}

/// What its processes are called.
fn programs(usage: &ServiceUsage) -> impl Iterator<Item = String> {
    usage.instances.iter().flat_map(|one| &one.processes).map(|process| process.name.clone())
}

/// What to do about functions without names, when there are many.
fn nameless(ratio: f64, programs: &BTreeSet<String>) -> Vec<String> {
    let hints: BTreeSet<&str> = programs.iter().filter_map(|name| perf::hint(name)).collect();
    if !hints.is_empty() {
        // An interpreter's own functions have names, which say little.
        return hints.into_iter().map(str::to_owned).collect();
    }
    match ratio >= 0.2 {
        true => vec![format!(
            "{:.0} % of the samples are in functions without a name: symbols were stripped, or it \
             was built without frame pointers",
            ratio * 100.0
        )],
        false => Vec::new(),
    }
}

/// How far it is, on standard error.
struct Progress {
    interactive: bool,
    duration: Duration,
}

impl Progress {
    fn begin(name: &str, duration: Duration, every: Duration) -> Self {
        let interactive = io::stderr().is_terminal();
        if !interactive {
            terminal::remark(format_args!(
                "profiling {name} for {}, a look each {}",
                terminal::seconds(duration.as_secs_f64()),
                terminal::seconds(every.as_secs_f64()),
            ));
        }
        Self { interactive, duration }
    }

    fn show(&mut self, passed: Duration, window: &Window) {
        if !self.interactive {
            return;
        }
        let mut line =
            format!("  {:.0}/{:.0} s", passed.as_secs_f64(), self.duration.as_secs_f64());
        for (name, noun) in
            [("cpu_cores", " cores"), ("memory_bytes", ""), ("requests_per_second", "")]
        {
            if let Some((value, unit)) = window.newest(name) {
                line.push_str(" · ");
                line.push_str(&advice::shown(unit, value));
                line.push_str(noun);
            }
        }
        write_over(&line);
    }

    fn end(&mut self) {
        if self.interactive {
            write_over("");
        }
    }
}

/// Writes over the present line; there is nobody to tell when that fails.
fn write_over(line: &str) {
    let mut out = io::stderr().lock();
    let _nobody_left_to_tell = write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_without_names_have_a_remedy() {
        let programs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert!(nameless(0.1, &programs(&["nginx"])).is_empty());
        assert!(nameless(0.5, &programs(&["nginx"]))[0].contains("50 %"));
        assert!(nameless(0.0, &programs(&["python3", "sh"]))[0].contains("py-spy"));
    }
}
