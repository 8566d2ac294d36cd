//! The text of a unit file.

use std::{fmt::Write as _, net::SocketAddr, path::Path, time::Duration};

use bs9_api::types::ClusterRoute;
use bs9_config::{ReadySign, RestartPolicy, RestartWhen, Service, ServiceScope};

use super::{
    Marker, Program, ProgramError, Surroundings, own_variables, quote, sandbox, secret_text,
    unit_name,
};

/// From this version on systemd itself lengthens the delay between restarts.
const KNOWS_RESTART_STEPS: u32 = 254;

/// A unit file that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitText {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The unit of an instance, counted from 1.
pub(crate) fn render(
    service: &Service,
    instance: u32,
    around: &Surroundings,
) -> Result<UnitText, ProgramError> {
    let program = Program::of(service, around)?;
    let mut text = String::from(
        "# Written by bs9 from the service's description; changes made here are lost.\n",
    );
    unit(&mut text, service, instance);
    text.push_str("\n[Service]\n");
    process(&mut text, service, instance, &program, around);
    restart(&mut text, &service.restart, around);
    limits(&mut text, service);
    text.push('\n');
    for directive in sandbox(service, &program, around) {
        line(&mut text, directive.name, &directive.value);
    }
    let target = match service.scope {
        ServiceScope::User => "default.target",
        ServiceScope::System => "multi-user.target",
    };
    let _infallible = write!(text, "\n[Install]\nWantedBy={target}\n\n");
    text.push_str(&marker(service, instance).to_text());
    Ok(UnitText { name: unit_name(&service.name, instance), text })
}

fn line(text: &mut String, name: &str, value: &str) {
    let _infallible = writeln!(text, "{name}={value}");
}

fn unit(text: &mut String, service: &Service, instance: u32) {
    text.push_str("[Unit]\n");
    let described = match &service.description {
        Some(description) => format!("{description} ({} {instance})", service.name),
        None => format!("BS9 Service: {} {instance}", service.name),
    };
    line(text, "Description", &quote::literal(&described));
    if service.scope == ServiceScope::System {
        line(text, "Wants", "network-online.target");
        line(text, "After", "network-online.target");
    }
    let (interval, burst) = start_limit(&service.restart);
    line(text, "StartLimitIntervalSec", &seconds(interval));
    if let Some(burst) = burst {
        line(text, "StartLimitBurst", &burst.to_string());
    }
}

/// How often it may be started before systemd gives it up. Without a limit the
/// growing delay is what protects the machine.
fn start_limit(restart: &RestartPolicy) -> (Duration, Option<u32>) {
    match restart.attempts {
        None => (Duration::ZERO, None),
        // Long enough for all of them with every delay at its longest.
        Some(attempts) => {
            let each = restart.max_delay + restart.reset_after;
            (each.saturating_mul(attempts.get()), Some(attempts.get().saturating_add(1)))
        }
    }
}

fn process(
    text: &mut String,
    service: &Service,
    instance: u32,
    program: &Program,
    around: &Surroundings,
) {
    // `exec` has a start fail that could not run the program at all.
    let kind = if service.ready.sign == ReadySign::Notify { "notify" } else { "exec" };
    line(text, "Type", kind);
    if kind == "notify" {
        line(text, "NotifyAccess", "all");
    }
    let words = std::iter::once(program.path.to_string_lossy().into_owned())
        .chain(program.arguments.iter().cloned());
    let words: Vec<_> = words.map(|word| quote::argument(&word)).collect();
    line(text, "ExecStart", &words.join(" "));
    line(text, "WorkingDirectory", &quote::literal(&service.working_folder.to_string_lossy()));
    if let Some(user) = &service.user {
        line(text, "User", user);
    }
    line(text, "Environment", &quote::word(&format!("PATH={}", search_path(program))));
    for variable in own_variables(service, instance) {
        line(text, "Environment", &quote::word(&format!("{}={}", variable.name, variable.value)));
    }
    if secret_text(service).is_some() {
        let file = around.environment_file(&service.name);
        line(text, "EnvironmentFile", &quote::literal(&file.to_string_lossy()));
    }
    for file in &service.environment_files {
        line(text, "EnvironmentFile", &quote::literal(&file.to_string_lossy()));
    }
    line(text, "SyslogIdentifier", &service.name);
    line(text, "KillSignal", &service.stop.signal);
    line(text, "TimeoutStartSec", &seconds(service.ready.timeout));
    line(text, "TimeoutStopSec", &seconds(service.stop.timeout));
}

/// Where the program looks for others: beside itself first.
pub(crate) fn search_path(program: &Program) -> String {
    const USUAL: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
    let own = program.path.parent();
    let own = own.filter(|folder| !USUAL.iter().any(|usual| *folder == Path::new(usual)));
    own.map(|folder| folder.to_string_lossy().into_owned())
        .into_iter()
        .chain(USUAL.map(str::to_owned))
        .collect::<Vec<_>>()
        .join(":")
}

fn restart(text: &mut String, restart: &RestartPolicy, around: &Surroundings) {
    let policy = match restart.policy {
        RestartWhen::No => "no",
        RestartWhen::OnFailure => "on-failure",
        RestartWhen::Always => "always",
    };
    line(text, "Restart", policy);
    if restart.policy == RestartWhen::No {
        return;
    }
    line(text, "RestartSec", &seconds(restart.delay));
    if around.systemd_version >= KNOWS_RESTART_STEPS && restart.max_delay > restart.delay {
        line(text, "RestartSteps", &doublings(restart).to_string());
        line(text, "RestartMaxDelaySec", &seconds(restart.max_delay));
    }
}

/// How often a delay has to double to get from the first to the longest.
fn doublings(restart: &RestartPolicy) -> u32 {
    let ratio = restart.max_delay.as_secs_f64() / restart.delay.as_secs_f64().max(0.001);
    // A float becomes the nearest integer there is.
    (ratio.log2().ceil() as u32).max(1)
}

fn limits(text: &mut String, service: &Service) {
    let limits = &service.limits;
    let mut number = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line(text, name, &value);
        }
    };
    number("MemoryHigh", limits.memory_high.map(|bytes| bytes.to_string()));
    number("MemoryMax", limits.memory_max.map(|bytes| bytes.to_string()));
    number("CPUQuota", limits.cpu.map(|cores| format!("{}%", (cores * 100.0).round())));
    number("TasksMax", limits.tasks.map(|tasks| tasks.to_string()));
    number("LimitNOFILE", Some(limits.open_files.to_string()));
    for name in ["MemoryAccounting", "CPUAccounting", "TasksAccounting", "IOAccounting"] {
        number(name, Some("yes".to_owned()));
    }
}

fn marker(service: &Service, instance: u32) -> Marker {
    let endpoint = service.port_of(instance).filter(|_| service.proxy.enabled);
    let cluster = service.proxy.cluster.as_ref().unwrap_or(&service.name);
    Marker {
        service: service.name.to_string(),
        instance,
        cluster: endpoint.map(|_| cluster.to_string()),
        endpoint: endpoint.map(|port| SocketAddr::new(service.host, port).to_string()),
        route: (endpoint.is_some() && service.proxy.is_routed()).then(|| ClusterRoute {
            listener: service.proxy.listener.as_ref().map(ToString::to_string),
            host: service.proxy.host.clone(),
            path: service.proxy.path.clone(),
        }),
    }
}

/// Seconds as systemd.time(7) takes them.
fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

/// A unit file's text with every value of `Environment=` left out but what bs9 says
/// itself.
pub(crate) fn without_secrets(text: &str) -> String {
    const OWN: [&str; 10] = [
        "PATH",
        "PORT",
        "HOST",
        "PROTOCOL",
        "SERVICE_NAME",
        "INSTANCE",
        "NODE_ENV",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let shown = text.lines().map(|line| {
        let Some(assignment) = line.strip_prefix("Environment=") else { return line.to_owned() };
        let name = assignment.trim_start_matches('"').split('=').next().unwrap_or_default();
        match OWN.contains(&name) {
            true => line.to_owned(),
            false => format!("Environment={name}=…"),
        }
    });
    shown.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use bs9_config::parse_service;

    use super::*;

    fn text(systemd_version: u32, definition: &str) -> String {
        let service = parse_service(Path::new("/tmp/api.toml"), definition).unwrap();
        let around = Surroundings {
            systemd_version,
            home: Some("/home/ann".into()),
            ..Surroundings::new(ServiceScope::User, "/state".into())
        };
        render(&service, 2, &around).unwrap().text
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|found| found == line)
    }

    #[test]
    fn an_instance_has_the_next_port_and_its_mark() {
        let text = text(
            252,
            "command = [\"sh\", \"-c\", \"echo $HOME 50%\"]\nport = 3000\nworking_folder = \"/usr\"\n\
             [environment]\nTOKEN = \"geheim\"\n[proxy]\nhost = \"a.example\"\n",
        );
        assert!(has(&text, "Environment=\"PORT=3001\""), "{text}");
        assert!(text.contains("\"-c\" \"echo $$HOME 50%%\""), "{text}");
        assert!(has(&text, "EnvironmentFile=/state/environment/api.env"), "{text}");
        assert!(!text.contains("geheim"), "{text}");
        let marker = Marker::read(&text).unwrap();
        assert_eq!(marker.endpoint.as_deref(), Some("127.0.0.1:3001"));
        assert_eq!(marker.route.unwrap().host.as_deref(), Some("a.example"));
    }

    #[test]
    fn only_a_systemd_that_knows_steps_is_told_of_them() {
        let definition = "command = [\"sh\"]\nworking_folder = \"/usr\"\n[restart]\ndelay = \"1s\"\nmax_delay = \"1m\"";
        assert!(!text(252, definition).contains("RestartSteps"));
        assert!(has(&text(254, definition), "RestartSteps=6"));
        assert!(has(&text(254, definition), "RestartMaxDelaySec=60s"));
    }

    #[test]
    fn limits_are_systemds() {
        let text = text(
            252,
            "command = [\"sh\"]\nworking_folder = \"/usr\"\n[limits]\nmemory_max = \"64MiB\"\ncpu = 1.5\ntasks = 10\n",
        );
        for line in ["MemoryMax=67108864", "CPUQuota=150%", "TasksMax=10", "LimitNOFILE=65536"] {
            assert!(has(&text, line), "{line}: {text}");
        }
    }

    #[test]
    fn values_that_may_be_secret_are_not_shown() {
        let shown =
            without_secrets("Environment=\"PORT=1\"\nEnvironment=\"KEY=geheim\"\nType=exec\n");
        assert_eq!(shown, "Environment=\"PORT=1\"\nEnvironment=KEY=…\nType=exec\n");
    }
}
