//! Services as tables.

use bs9_api::types::{InstanceStatus, ServiceState, ServiceStatus, WatchStatus};
use comfy_table::{Cell, Table};

use crate::{
    exit::Failure,
    terminal::{self, FAINT, NOTE, STRONG, Verdict, number, verdict},
};

/// A row for each service.
pub(crate) fn services(services: &[ServiceStatus]) -> Table {
    let mut table = terminal::table([
        "SERVICE", "STATE", "UP", "PORT", "MEMORY", "CPU TIME", "RESTARTS", "UPTIME", "WHY",
    ]);
    for service in services {
        let instances = &service.instances;
        let up = instances.iter().filter(|instance| instance.active_state == "active").count();
        let restarts: u32 = instances.iter().map(|instance| instance.restarts_total).sum();
        let uptime = instances.iter().filter_map(|i| i.uptime_seconds).reduce(f64::min);
        table.add_row([
            Cell::new(&service.name),
            state(service.state),
            number(format!("{up}/{}", service.instances_wanted)),
            number(or_dash(service.port)),
            number(
                sum(instances, |i| i.memory_bytes.map(|b| b as f64))
                    .map_or_else(dash, |b| terminal::bytes(b as u64)),
            ),
            number(sum(instances, |i| i.cpu_seconds_total).map_or_else(dash, terminal::seconds)),
            number(restarts),
            number(uptime.map_or_else(dash, terminal::seconds)),
            Cell::new(why(service)),
        ]);
    }
    table
}

fn why(service: &ServiceStatus) -> String {
    let front = service.cluster.as_ref().and_then(|cluster| cluster.reason.as_deref());
    match (&service.reason, service.drifted, front) {
        (Some(reason), ..) => reason.lines().next().unwrap_or_default().to_owned(),
        (None, true, _) => "its file says something else; `bs9 apply --dry-run`".to_owned(),
        (None, false, Some(front)) if service.state == ServiceState::Running => {
            format!("not fronted: {front}")
        }
        _ => String::new(),
    }
}

/// What is watched, and when that last brought about a reload.
fn watched(watch: &WatchStatus) -> String {
    let mut text = watch.paths.join(", ");
    if let (Some(at), Some(change)) = (watch.last_at, &watch.last_change) {
        text.push_str(&format!(
            "; reloaded {} times, last at {at} for {change}",
            watch.reloads_total
        ));
    }
    text
}

/// The sum over all instances; `None` when none tells.
fn sum(instances: &[InstanceStatus], of: impl Fn(&InstanceStatus) -> Option<f64>) -> Option<f64> {
    instances.iter().filter_map(of).reduce(|a, b| a + b)
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash(value: Option<u16>) -> String {
    value.map_or_else(dash, |value| value.to_string())
}

fn state(state: ServiceState) -> Cell {
    let word = state.as_str().replace('_', " ");
    match state {
        ServiceState::Running => verdict(word, Verdict::Good),
        ServiceState::Failed => verdict(word, Verdict::Bad),
        ServiceState::Degraded | ServiceState::Starting | ServiceState::Stopping => {
            verdict(word, Verdict::Note)
        }
        ServiceState::Stopped | ServiceState::NotApplied | ServiceState::Unknown => Cell::new(word),
    }
}

/// One service with all of its instances.
pub(crate) fn service(service: &ServiceStatus) -> Result<(), Failure> {
    let description = service.description.as_deref().unwrap_or_default();
    terminal::say(format_args!("{STRONG}{}{STRONG:#} {description}", service.name))?;
    line("state", service.state.as_str())?;
    if let Some(reason) = &service.reason {
        line("why", reason)?;
    }
    line("scope", &service.scope)?;
    line("at boot", if service.enabled { "started" } else { "not started" })?;
    line("description", service.definition.as_deref().unwrap_or("gone"))?;
    if service.drifted {
        line("drift", "the file says something else; `bs9 apply --dry-run` shows what")?;
    }
    if let Some(build) = &service.build {
        let version = build.version.as_deref().unwrap_or("of unknown version");
        let at = build.at.map(|at| format!(" at {at}")).unwrap_or_default();
        line("build", &format!("{} by {} {version}{at}", build.number, build.compiler))?;
    }
    if let Some(watch) = &service.watch {
        line("watched", &watched(watch))?;
        if let Some(error) = &watch.last_error {
            line("not brought in", error)?;
        }
        if !watch.left_out.is_empty() {
            line("left out", &format!("{}: written by the service", watch.left_out.join(", ")))?;
        }
    }
    if let Some(cluster) = &service.cluster {
        let route = cluster.route.as_ref().map(|route| format!(", route {route}"));
        line("cluster", &format!("{}{}", cluster.cluster, route.unwrap_or_default()))?;
        if let Some(reason) = &cluster.reason {
            line("", &format!("not fronted: {reason}"))?;
        }
    }
    if service.instances.is_empty() {
        return Ok(());
    }
    terminal::show("instances", &instances(&service.instances))?;
    for instance in &service.instances {
        for absent in &instance.unavailable {
            terminal::say(format_args!(
                "{NOTE}{}{NOTE:#} of {}: {FAINT}{}{FAINT:#}",
                absent.what, instance.unit, absent.reason
            ))?;
        }
    }
    Ok(())
}

fn line(name: &str, value: &str) -> Result<(), Failure> {
    terminal::say(format_args!("  {FAINT}{name:<12}{FAINT:#}{value}"))
}

fn instances(instances: &[InstanceStatus]) -> Table {
    let mut table = terminal::table([
        "UNIT", "STATE", "PID", "PORT", "MEMORY", "CPU TIME", "TASKS", "RESTARTS", "UPTIME",
        "LAST END",
    ]);
    for instance in instances {
        let word = format!("{} ({})", instance.active_state, instance.sub_state);
        table.add_row([
            Cell::new(&instance.unit),
            match instance.active_state.as_str() {
                "active" => verdict(word, Verdict::Good),
                "failed" => verdict(word, Verdict::Bad),
                "inactive" => Cell::new(word),
                _ => verdict(word, Verdict::Note),
            },
            number(instance.pid.map_or_else(dash, |pid| pid.to_string())),
            number(or_dash(instance.port)),
            number(instance.memory_bytes.map_or_else(dash, terminal::bytes)),
            number(instance.cpu_seconds_total.map_or_else(dash, terminal::seconds)),
            number(instance.tasks.map_or_else(dash, |tasks| tasks.to_string())),
            number(instance.restarts_total),
            number(instance.uptime_seconds.map_or_else(dash, terminal::seconds)),
            Cell::new(match instance.exit_status {
                Some(status) => format!("{} {status}", instance.result),
                None if instance.active_state == "active" => String::new(),
                None => instance.result.clone(),
            }),
        ]);
    }
    table
}
