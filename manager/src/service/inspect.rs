//! What a service is kept from: what is declared, what really holds, what it costs.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use bs9_api::types::{
    Effect, EnvironmentEntry, RelaxationCost, SCHEMA, SecurityFinding, SecurityScore,
    ServiceInspection,
};
use bs9_config::Service;
use serde_json::Value;
use tokio::{process::Command, time};

use super::{ServiceError, Services};
use crate::unit::{Program, own_variables, relaxations, render, without_secrets};

const ANALYZE_LIMIT: Duration = Duration::from_secs(20);

impl Services {
    /// Looks closely at a service, deployed or not.
    pub(crate) async fn inspect(&self, service: &str) -> Result<ServiceInspection, ServiceError> {
        let status = self.one(service).await?;
        let described = self.book.get(service)?;
        let around = self.around_offline(described.scope);
        let deployed = self.deployed(service)?;
        let first = deployed.first();
        let (unit_file, unit_text) = match first {
            Some(unit) => (unit.path.display().to_string(), unit.text.clone()),
            None => {
                let unit = render(&described, 1, &around)?;
                (format!("{} (not applied yet)", unit.name), unit.text)
            }
        };
        let score = match first {
            Some(unit) => security(&unit.path).await,
            None => Err("it is not applied yet".to_owned()),
        };
        let pid = status.instances.iter().find_map(|instance| instance.pid);
        let program = Program::of(&described, &around)?;
        let relaxed = relaxations(&described, &program).into_iter().map(|found| RelaxationCost {
            relaxation: found.relaxation.word().to_owned(),
            cost: found.relaxation.cost().to_owned(),
            because: found.because,
        });
        let back = self.book.generations(service);
        let (security, security_unavailable) = match score {
            Ok(score) => (Some(score), None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(ServiceInspection {
            schema: SCHEMA,
            service: status,
            unit_file,
            effects: effects(&unit_text, pid),
            unit_text: without_secrets(&unit_text),
            environment: environment(&described),
            security,
            security_unavailable,
            relaxations: relaxed.collect(),
            generations: (1..=back)
                .map(|back| format!("{}.~{back}~", self.book.path(service).display()))
                .collect(),
        })
    }
}

fn environment(service: &Service) -> Vec<EnvironmentEntry> {
    let own = own_variables(service, 1).into_iter().map(|variable| EnvironmentEntry {
        name: variable.name.to_owned(),
        source: "bs9".to_owned(),
        value: Some(variable.value).filter(|_| !service.environment.contains_key(variable.name)),
    });
    let described = service.environment.keys().map(|name| EnvironmentEntry {
        name: name.to_string(),
        source: "definition".to_owned(),
        value: None,
    });
    let files = service.environment_files.iter().flat_map(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let names: Vec<_> = text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.starts_with(['#', ';']))
            .filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()))
            .collect();
        names.into_iter().map(|name| EnvironmentEntry {
            name,
            source: file.display().to_string(),
            value: None,
        })
    });
    own.chain(described).chain(files).collect()
}

/// `systemd-analyze security` of a unit file, which needs no running systemd.
async fn security(file: &Path) -> Result<SecurityScore, String> {
    let details = analyze(file, "--json=short").await?;
    let entries: Vec<Value> = serde_json::from_slice(&details.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&details.stderr);
        format!("systemd-analyze: {}", said.lines().last().unwrap_or("no answer").trim())
    })?;
    // The JSON leaves the score itself out.
    let text = analyze(file, "--json=off").await?;
    let (exposure, verdict) = overall(&String::from_utf8_lossy(&text.stdout))
        .ok_or_else(|| "systemd-analyze gives no score".to_owned())?;
    Ok(SecurityScore { exposure, verdict, findings: findings(&entries) })
}

async fn analyze(file: &Path, format: &str) -> Result<Output, String> {
    let mut command = Command::new("systemd-analyze");
    command
        .args(["security", "--offline=true", "--no-pager", format])
        .arg(file)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    time::timeout(ANALYZE_LIMIT, command.output())
        .await
        .map_err(|_| "systemd-analyze does not answer".to_owned())?
        .map_err(|error| format!("systemd-analyze cannot be run: {error}"))
}

/// `1.6` and `OK` of "Overall exposure level for api@1.service: 1.6 OK".
fn overall(text: &str) -> Option<(f64, String)> {
    let line = text.lines().find(|line| line.contains("Overall exposure level"))?;
    let mut words = line.rsplit_once(": ")?.1.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
}

/// Where a score comes from, the worst first.
fn findings(entries: &[Value]) -> Vec<SecurityFinding> {
    let mut findings: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            let word = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let exposure = match entry.get("exposure")? {
                Value::String(text) => text.parse().ok()?,
                other => other.as_f64()?,
            };
            (exposure > 0.0).then(|| SecurityFinding {
                directive: word("name").to_owned(),
                description: word("description").to_owned(),
                exposure,
            })
        })
        .collect();
    findings.sort_by(|a, b| b.exposure.total_cmp(&a.exposure));
    findings
}

/// What is declared beside what the kernel says of the process.
fn effects(unit_text: &str, pid: Option<u32>) -> Vec<Effect> {
    let declared = |name: &str| {
        let lines = unit_text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        // Some are given in several lines that add up.
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| lines.join(" "))
    };
    let process = pid.map(Process::read);
    let rows: [(&str, Look); 6] = [
        ("NoNewPrivileges", |process| process.flag("NoNewPrivs", "1")),
        ("SystemCallFilter", |process| process.flag("Seccomp", "2")),
        ("CapabilityBoundingSet", |process| process.capabilities()),
        ("ProtectSystem", |process| process.read_only("/usr")),
        ("ProtectHome", |process| {
            process.own_mount("/root").or_else(|| process.own_mount("/home"))
        }),
        ("PrivateTmp", |process| process.own_mount("/tmp")),
    ];
    let effect = |(name, look): (&str, Look)| {
        let said = declared(name);
        let seen = process.as_ref().and_then(look);
        Effect {
            directive: name.to_owned(),
            declared: match &said {
                None => "no".to_owned(),
                Some(value) if value.is_empty() => "none".to_owned(),
                Some(value) => value.clone(),
            },
            holds: seen.as_ref().map(|(yes, _)| *yes || said.is_none()),
            effective: seen.map(|(_, shown)| shown),
        }
    };
    rows.into_iter().map(effect).collect()
}

/// Looks whether something is in force, and how that shows.
type Look = fn(&Process) -> Option<(bool, String)>;

/// What the kernel tells about a process.
struct Process {
    /// `/proc/PID/status` (proc_pid_status(5)).
    status: HashMap<String, String>,
    /// `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
    mounts: String,
}

impl Process {
    fn read(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let fields = status.lines().filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        Self {
            status: fields.collect(),
            mounts: fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default(),
        }
    }

    fn flag(&self, name: &str, on: &str) -> Option<(bool, String)> {
        let value = self.status.get(name)?;
        Some((value == on, format!("{name} {value}")))
    }

    fn capabilities(&self) -> Option<(bool, String)> {
        let value = self.status.get("CapBnd")?;
        let few = u64::from_str_radix(value, 16).ok()?.count_ones() <= 1;
        Some((few, format!("CapBnd {value}")))
    }

    /// The options of the mount that a path is on.
    fn mount(&self, path: &str) -> Option<(&str, &str)> {
        let mounts = self.mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.nth(4)?, fields.next()?))
        });
        mounts
            .filter(|(point, _)| Path::new(path).starts_with(point))
            .max_by_key(|(point, _)| point.len())
    }

    fn read_only(&self, path: &str) -> Option<(bool, String)> {
        let (point, options) = self.mount(path)?;
        let yes = options.split(',').any(|option| option == "ro");
        Some((
            yes,
            format!("{path} is {} (on {point})", if yes { "read-only" } else { "writable" }),
        ))
    }

    fn own_mount(&self, path: &str) -> Option<(bool, String)> {
        let (point, _) = self.mount(path)?;
        let yes = point == path;
        Some((yes, format!("{path} is {}", if yes { "its own" } else { "everybody's" })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_and_where_it_comes_from() {
        let entries: Vec<Value> = serde_json::from_str(
            r#"[{"set":true,"name":"PrivateTmp=","exposure":null},
                {"set":false,"name":"UMask=","description":"d","exposure":"0.1"},
                {"set":false,"name":"PrivateNetwork=","exposure":0.5}]"#,
        )
        .unwrap();
        let found: Vec<_> = findings(&entries).into_iter().map(|found| found.directive).collect();
        assert_eq!(found, ["PrivateNetwork=", "UMask="]);
        let text = "…\n→ Overall exposure level for a@1.service: 1.6 OK :-)\n";
        assert_eq!(overall(text), Some((1.6, "OK".to_owned())));
        assert_eq!(overall("nothing"), None);
    }

    #[test]
    fn what_holds_is_read_from_the_kernel() {
        let process = Process {
            status: HashMap::from([
                ("NoNewPrivs".to_owned(), "1".to_owned()),
                ("CapBnd".to_owned(), "000001ffffffffff".to_owned()),
            ]),
            mounts: "1 0 8:1 / / rw shared:1 - ext4 /dev/x rw\n\
                     2 1 8:1 / /usr ro,nosuid - ext4 /dev/x rw\n\
                     3 1 0:9 / /tmp rw - tmpfs tmpfs rw\n"
                .to_owned(),
        };
        assert!(process.flag("NoNewPrivs", "1").unwrap().0);
        assert!(!process.capabilities().unwrap().0);
        assert!(process.read_only("/usr").unwrap().0);
        assert!(!process.read_only("/etc").unwrap().0);
        assert!(process.own_mount("/tmp").unwrap().0);
        assert!(!process.own_mount("/home").unwrap().0);
        assert!(process.flag("Seccomp", "2").is_none());
    }
}
