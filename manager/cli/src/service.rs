//! The verbs for services. All of them ask the manager; only `doctor` looks for itself.

use std::time::Duration;

use bs9_api::{
    Client, ManagerClient, Process,
    socket::find,
    types::{ServiceOutcome, ServiceStatus},
};

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    terminal::{self, GOOD, NOTE},
};

pub(crate) mod apply;
pub(crate) mod change;
pub(crate) mod doctor;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod saved;
pub(crate) mod scale;
mod show;
mod source;
pub(crate) mod start;

pub(crate) use show::services as services_table;

/// A rolling reload of many instances that drain slowly takes its time.
const CHANGE_LIMIT: Duration = Duration::from_secs(3_600);

/// The manager to ask.
fn client(global: &Global) -> ManagerClient {
    let socket = find(Process::Manager, global.socket.as_deref());
    ManagerClient::new(Client::unix(socket).with_timeout(CHANGE_LIMIT))
}

/// The services that names, patterns with `*` and `all` stand for.
async fn resolve(client: &ManagerClient, asked: &[String]) -> Result<Vec<String>, Failure> {
    let plain = |name: &String| name != "all" && !name.contains('*');
    if asked.iter().all(plain) {
        return Ok(asked.to_vec());
    }
    let known: Vec<String> =
        client.services().await?.services.into_iter().map(|service| service.name).collect();
    let mut names = Vec::new();
    for asked in asked {
        let found: Vec<_> = known
            .iter()
            .filter(|name| asked == "all" || matches(asked, name) || asked == *name)
            .cloned()
            .collect();
        if found.is_empty() {
            return Err(Failure::new(Exit::NotFound, format!("no service is like `{asked}`")));
        }
        names.extend(found);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Whether a name is like a pattern, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Says what a change came to.
fn report(outcome: &ServiceOutcome, global: &Global) -> Result<(), Failure> {
    if global.json {
        return terminal::json(outcome);
    }
    for step in &outcome.steps {
        terminal::say(step)?;
    }
    for warning in &outcome.warnings {
        terminal::remark(format_args!("{NOTE}note{NOTE:#}: {warning}"));
    }
    match &outcome.service {
        Some(service) => terminal::say(summary(service)),
        None => Ok(()),
    }
}

fn summary(service: &ServiceStatus) -> String {
    let up = service.instances.iter().filter(|instance| instance.active_state == "active").count();
    let ports: Vec<_> = service.instances.iter().filter_map(|instance| instance.port).collect();
    let mut text = format!(
        "{GOOD}{}{GOOD:#}: {}, {up} of {} instances up",
        service.name,
        service.state.as_str(),
        service.instances_wanted
    );
    if let [first, .., last] = ports.as_slice() {
        text.push_str(&format!(", ports {first} to {last}"));
    } else if let [only] = ports.as_slice() {
        text.push_str(&format!(", port {only}"));
    }
    if let Some(cluster) = service.cluster.as_ref().filter(|cluster| cluster.wired) {
        match &cluster.route {
            Some(route) => text.push_str(&format!(", fronted at {route}")),
            None => text.push_str(&format!(", endpoints of the cluster {}", cluster.cluster)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("app-*", "app-1", true),
            ("app-*", "app", false),
            ("*", "anything", true),
            ("*-api", "my-api", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("api", "api", true),
            ("api", "apis", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
