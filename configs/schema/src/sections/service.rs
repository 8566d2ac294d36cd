//! The whole of `services/NAME.toml`.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU32, path::Path, sync::Arc};

use super::{
    DAY, HOUR, MILLISECOND, MINUTE, SECOND,
    name::{NAME, check_name},
    service_sandbox::hardening,
    service_source::{build, watch},
};
use crate::{
    definition::TextForm,
    model::{
        Instances, ProxyWiring, Readiness, ReadySign, RestartPolicy, RestartWhen, Run, Service,
        ServiceHealthCheck, ServiceLimits, ServiceScope, Stop,
    },
    raw::Value,
    read::{
        Fault, Format, Key, Scope, Word, absolute, boolean, duration, either, float, integer, list,
        secrets, size, table, text, words,
    },
    report::Finding,
};

/// Instances of one service at most.
const MAX_INSTANCES: i64 = 512;
/// How long a service without any other sign of readiness has to stay up.
const UP: std::time::Duration = SECOND;
/// Bytes of the shortest memory limit that lets a program start at all.
const MIN_MEMORY_BYTES: u64 = 1 << 20;

const SCOPES: &[Word<ServiceScope>] = &[
    Word::is("user", ServiceScope::User, "The user's own systemd; needs no privileges."),
    Word::is("system", ServiceScope::System, "The machine's systemd; the manager has to be root."),
];
const POLICIES: &[Word<RestartWhen>] = &[
    Word::is("no", RestartWhen::No, "Never."),
    Word::is(
        "on-failure",
        RestartWhen::OnFailure,
        "After a crash, a signal, a timeout or an exit code other than 0.",
    ),
    Word::is("always", RestartWhen::Always, "Whenever it ends, however it ends."),
];
const MAX: &[Word<Instances>] = &[Word::is("max", Instances::Max, "One for each core.")];
const VARIABLE: TextForm =
    TextForm { what: "the name of a variable", pattern: Some("^[A-Za-z_][A-Za-z0-9_]*$") };

pub(crate) fn service(t: &mut Scope<'_>) -> Option<Service> {
    let description = t.optional(
        Key::new("description", "For people; shown by `bs9 status` and `systemctl status`."),
        text("a line of text", None, one_line),
    );
    let run = run(t);
    let folder = t.optional(
        Key::new(
            "working_folder",
            "Where it is run. Absent: the folder of `script`, else of this file.",
        ),
        text("a path", None, path),
    );
    let here = t.reader().folder(t.spot());
    let environment = t.or(
        Key::new("environment", "Variables of its environment, each a secret. PORT, HOST, SERVICE_NAME, INSTANCE and OTEL_* are set anyway, and can be given another value here."),
        secrets(VARIABLE, variable),
        Value::Table(crate::raw::Table::default()),
    );
    let environment_files = t.or(
        Key::new(
            "environment_files",
            "Files of `NAME=value` lines, read at each start; they win over `environment`.",
        ),
        list(text("a path", None, path)),
        Value::List(Vec::new()),
    );
    let port = t.optional(
        Key::new("port", "The first instance's port, told to it as PORT; each further instance has the next one."),
        integer::<u16>(1..=65_535),
    );
    let host: IpAddr = t.or(
        Key::new("host", "Told to it as HOST, and where its endpoints are."),
        text("an IP address", None, address),
        "127.0.0.1",
    );
    let instances = t.or(
        Key::new("instances", "How many run at once: a number, or `\"max\"` for one a core."),
        either(integer::<u32>(1..=MAX_INSTANCES).map(count), words(MAX)),
        1,
    );
    let scope = t.or(Key::new("scope", "Whose systemd runs it."), words(SCOPES), "user");
    let user = t.optional(
        Key::new("user", "The user a system service runs as. Absent: root."),
        text("a user", Some("^[A-Za-z_][A-Za-z0-9_.-]*[$]?$"), user),
    );
    let restart =
        t.section(Key::new("restart", "What happens when it ends by itself."), table(restart));
    let limits = t.section(
        Key::new(
            "limits",
            "What each instance may use. What is absent is not limited beyond systemd's defaults.",
        ),
        table(limits),
    );
    let ready = t.section(
        Key::new("ready", "When an instance counts as ready. Absent: when its port accepts connections; without a port, when it has stayed up for a second."),
        table(ready),
    );
    let stop = t.section(Key::new("stop", "How an instance is stopped."), table(stop));
    let proxy = t.section(
        Key::new("proxy", "How the data plane fronts it. A service with a port always has a cluster; with `listener`, `host` or `path` it has a route too."),
        table(proxy),
    );
    let build = build(t, run.as_ref());
    let watch = watch(t);
    let hardening = t.section(
        Key::new("hardening", "What it is kept from, which is nearly everything, and what not."),
        table(hardening),
    );
    let otel_endpoint = t.optional(
        Key::new(
            "otel_endpoint",
            "Where it sends traces, told to it as OTEL_EXPORTER_OTLP_ENDPOINT.",
        ),
        text("a URL", Some("^https?://[!-~]+$"), url),
    );
    check_together(t, scope, user.as_deref(), port, instances);
    let (run, mut ready) = (run?, ready?);
    if port.is_none() {
        needs_port(t, &ready.sign);
        if ready.sign == ReadySign::Port {
            ready.sign = ReadySign::Up(UP);
        }
    }
    let script_folder = run.script().and_then(Path::parent).map(Path::to_owned);
    Some(Service {
        // The file's name; whoever reads the file knows it.
        name: Arc::from(""),
        description,
        working_folder: folder.or(script_folder).unwrap_or_else(|| here.to_owned()),
        run,
        environment: environment
            .into_iter()
            .map(|(name, value)| (Arc::from(name), value))
            .collect::<BTreeMap<_, _>>(),
        environment_files,
        port,
        host,
        instances,
        scope,
        user,
        restart: restart?,
        limits: limits?,
        ready,
        stop: stop?,
        proxy: proxy?,
        hardening: hardening?,
        otel_endpoint,
        build,
        watch,
    })
}

/// `command`, or `script` with what belongs to it.
fn run(t: &mut Scope<'_>) -> Option<Run> {
    let command = t.optional(
        Key::new(
            "command",
            "The program and its arguments: `[\"node\", \"server.js\"]`. No shell is involved.",
        ),
        list(text("a word of the command", None, word)).not_empty(),
    );
    let script = t.optional(
        Key::new("script", "A script instead of a command; what runs it is found by its ending (.ts .js .py .sh …), or it is executable itself."),
        text("a path", None, path),
    );
    let interpreter = t.optional(
        Key::new("interpreter", "What runs the script: a program on the path, or its own path."),
        text("a program", None, word),
    );
    let arguments = t.optional(
        Key::new("arguments", "What follows the script on its command line."),
        list(text("an argument", None, word)),
    );
    let stray = ["interpreter", "arguments"].into_iter().find(|name| t.has(name));
    match (command, script) {
        (Some(command), None) => {
            if let Some(name) = stray {
                let spot = t.key_spot(name).unwrap_or(t.spot());
                t.reader().push(
                    Finding::error(format!("`{name}` has no meaning without `script`"))
                        .at(spot, &t.path_of(name))
                        .hint("write all of it in `command`"),
                );
            }
            Some(Run::Command(command))
        }
        (None, Some(script)) => {
            Some(Run::Script { script, interpreter, arguments: arguments.unwrap_or_default() })
        }
        (Some(_), Some(_)) => {
            let spot = t.key_spot("script").unwrap_or(t.spot());
            t.reader().push(
                Finding::error("a service has a `command` or a `script`, not both")
                    .at(spot, &t.path_of("script"))
                    .hint("remove one of them"),
            );
            None
        }
        (None, None) => {
            if !t.has("command") && !t.has("script") {
                t.reader().missing(
                    Finding::error("the service does not say what to run")
                        .at(t.spot(), t.path())
                        .hint("add `command = [\"program\", \"argument\"]`, or `script = \"server.js\"`"),
                );
            }
            None
        }
    }
}

fn check_together(
    t: &Scope<'_>,
    scope: ServiceScope,
    user: Option<&str>,
    port: Option<u16>,
    instances: Instances,
) {
    if user.is_some() && scope == ServiceScope::User {
        let spot = t.key_spot("user").unwrap_or(t.spot());
        t.reader().push(
            Finding::error("`user` has no meaning for a user's service")
                .at(spot, &t.path_of("user"))
                .hint("add scope = \"system\", or remove it"),
        );
    }
    if let (Some(port), Instances::Count(count)) = (port, instances)
        // One more for the instance that stands in during a reload.
        && u32::from(port) + count.get() > u32::from(u16::MAX)
    {
        let spot = t.key_spot("port").unwrap_or(t.spot());
        t.reader().push(
            Finding::error(format!(
                "{count} instances from port {port} on do not fit below 65,536"
            ))
            .at(spot, &t.path_of("port"))
            .hint("each instance has a port, and a reload needs one more"),
        );
    }
}

fn needs_port(t: &Scope<'_>, sign: &ReadySign) {
    if let ReadySign::Http(path) = sign {
        let spot = t.key_spot("ready").unwrap_or(t.spot());
        t.reader().missing(
            Finding::error(format!("there is no port to ask for {path}"))
                .at(spot, &t.path_of("ready"))
                .hint("add `port`"),
        );
    }
}

fn restart(t: &mut Scope<'_>) -> Option<RestartPolicy> {
    let policy =
        t.or(Key::new("policy", "When it is started again."), words(POLICIES), "on-failure");
    let delay =
        t.or(Key::new("delay", "Before the first restart."), duration(MILLISECOND..=HOUR), "1s");
    let max_delay = t.or(
        Key::new("max_delay", "Each failure in a row doubles the delay, up to this."),
        duration(MILLISECOND..=DAY),
        "1m",
    );
    let reset_after = t.or(
        Key::new("reset_after", "Running this long forgets the failures before."),
        duration(SECOND..=DAY),
        "1m",
    );
    let attempts = t.optional(
        Key::new("attempts", "Restarts in a row after which it is given up. Absent: never."),
        integer::<u32>(1..=1_000_000),
    );
    if max_delay < delay {
        let spot = t.key_spot("max_delay").or(t.key_spot("delay")).unwrap_or(t.spot());
        t.reader().push(
            Finding::error("`max_delay` is shorter than `delay`").at(spot, &t.path_of("max_delay")),
        );
        return None;
    }
    Some(RestartPolicy {
        policy,
        delay,
        max_delay,
        reset_after,
        attempts: attempts.and_then(NonZeroU32::new),
    })
}

fn limits(t: &mut Scope<'_>) -> Option<ServiceLimits> {
    let memory_high = t.optional(
        Key::new("memory_high", "Memory from which on the kernel reclaims it and slows it down."),
        size(MIN_MEMORY_BYTES..=1 << 50),
    );
    let memory_max = t.optional(
        Key::new("memory_max", "Memory at which it is killed, and restarted by `restart`."),
        size(MIN_MEMORY_BYTES..=1 << 50),
    );
    let cpu = t
        .optional(Key::new("cpu", "Cores it may use: `0.5` is half a core."), float(0.01..=4096.0));
    let tasks =
        t.optional(Key::new("tasks", "Threads and processes."), integer::<u32>(1..=4_194_304));
    let open_files =
        t.or(Key::new("open_files", "Open files."), integer::<u32>(16..=1_048_576), 65_536);
    Some(ServiceLimits { memory_high, memory_max, cpu, tasks, open_files })
}

fn ready(t: &mut Scope<'_>) -> Option<Readiness> {
    let notify = t.or(
        Key::new("notify", "It tells systemd itself (sd_notify `READY=1`)."),
        boolean(),
        false,
    );
    let path = t.optional(
        Key::new("path", "`GET` of this path on its port has to be answered 2xx or 3xx."),
        text("a path such as \"/healthz\"", Some("^/[!-~]*$"), request_path),
    );
    let timeout = t.or(
        Key::new("timeout", "How long it may take; then the start has failed."),
        duration(100 * MILLISECOND..=HOUR),
        "15s",
    );
    let sign = match (notify, path) {
        (true, None) => ReadySign::Notify,
        (false, Some(path)) => ReadySign::Http(path),
        (false, None) => ReadySign::Port,
        (true, Some(_)) => {
            let spot = t.key_spot("path").unwrap_or(t.spot());
            t.reader().push(
                Finding::error("a service says that it is ready, or is asked; not both")
                    .at(spot, &t.path_of("path"))
                    .hint("remove `notify` or `path`"),
            );
            return None;
        }
    };
    Some(Readiness { sign, timeout })
}

fn stop(t: &mut Scope<'_>) -> Option<Stop> {
    let signal = t.or(
        Key::new("signal", "Sent first."),
        text("a signal such as \"SIGTERM\"", Some("^SIG[A-Z0-9+]+$"), |signal: &str, _| {
            let named = signal.strip_prefix("SIG").is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            });
            match named {
                true => Ok(signal.to_owned()),
                false => {
                    Err(Fault::new(format!("`{signal}` is not a signal")).hint("write \"SIGTERM\""))
                }
            }
        }),
        "SIGTERM",
    );
    let timeout = t.or(
        Key::new("timeout", "What has not ended by then is killed."),
        duration(100 * MILLISECOND..=HOUR),
        "30s",
    );
    Some(Stop { signal, timeout })
}

fn proxy(t: &mut Scope<'_>) -> Option<ProxyWiring> {
    let enabled = t.or(
        Key::new("enabled", "Whether its instances are endpoints of a cluster."),
        boolean(),
        true,
    );
    let cluster = t.optional(
        Key::new("cluster", "The cluster. Absent: named as the service."),
        text(NAME.what, NAME.pattern, |name: &str, _| check_name(name).map(|()| Arc::from(name))),
    );
    let listener = t.optional(
        Key::new(
            "listener",
            "The HTTP listener that gets its route. Absent: the only one there is.",
        ),
        text(NAME.what, NAME.pattern, |name: &str, _| check_name(name).map(|()| Arc::from(name))),
    );
    let host = t.optional(
        Key::new("host", "Requests for this host, as in a route of `bs9.toml`."),
        text(
            "a host such as \"api.example.com\" or \"*.example.com\"",
            Some(r"^(\*\.)?[A-Za-z0-9_.:\[\]-]+$"),
            one_line,
        ),
    );
    let path = t.optional(
        Key::new("path", "Requests with this path, as in a route of `bs9.toml`."),
        text("a path such as \"/v1/\", \"=/exact\" or \"~^/re\"", Some(r"^(=?/|~)"), one_line),
    );
    let health_check = t.optional(
        Key::new("health_check", "Active probing by the data plane; `{}` takes every default."),
        table(health_check),
    );
    let drain_timeout = t.or(
        Key::new(
            "drain_timeout",
            "How long an instance that is to stop may finish the requests it has.",
        ),
        duration(MILLISECOND..=HOUR),
        "30s",
    );
    Some(ProxyWiring { enabled, cluster, listener, host, path, health_check, drain_timeout })
}

fn health_check(t: &mut Scope<'_>) -> Option<ServiceHealthCheck> {
    let path = t.optional(
        Key::new("path", "`GET` of this path has to be answered with a 2xx or 3xx status. Absent: a connection has to be accepted."),
        text("a path such as \"/healthz\"", Some("^/[!-~]*$"), request_path),
    );
    let interval = t.or(
        Key::new("interval", "Between the starts of two probes of an instance."),
        duration(SECOND..=10 * MINUTE),
        "5s",
    );
    Some(ServiceHealthCheck { path, interval })
}

/// What a service may be called: its units, its cluster and its file are named so.
pub(crate) fn check_service_name(name: &str) -> Result<(), Fault> {
    check_name(name)?;
    match ["bs9", "bs9-manager", "bs9-dataplane"].contains(&name) {
        true => Err(Fault::new(format!("`{name}` is a name that bs9 needs itself"))),
        false => Ok(()),
    }
}

// === values ===

fn count(count: u32) -> Instances {
    NonZeroU32::new(count).map_or(Instances::Max, Instances::Count)
}

/// What systemd cannot be told in a unit file.
fn plain(text: &str) -> Result<(), Fault> {
    if text.chars().any(char::is_control) {
        return Err(Fault::new(
            "control characters, such as line breaks, cannot be in a unit file",
        ));
    }
    Ok(())
}

fn one_line(text: &str, _: &Path) -> Result<String, Fault> {
    plain(text).map(|()| text.to_owned())
}

fn word(text: &str, _: &Path) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the word is empty"));
    }
    plain(text).map(|()| text.to_owned())
}

pub(super) fn path(text: &str, folder: &Path) -> Result<std::path::PathBuf, Fault> {
    if text.is_empty() {
        return Err(Fault::new("the path is empty"));
    }
    plain(text).map(|()| absolute(folder, text))
}

fn address(text: &str, _: &Path) -> Result<IpAddr, Fault> {
    let name = if text == "localhost" { "127.0.0.1" } else { text };
    name.parse().map_err(|_| {
        Fault::new(format!("`{text}` is not an IP address")).hint("write \"127.0.0.1\" or \"::1\"")
    })
}

fn user(text: &str, _: &Path) -> Result<String, Fault> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.$".contains(&b);
    match text.bytes().all(fine) && !text.is_empty() && !text.starts_with(['-', '.']) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(format!("`{text}` is not the name of a user"))),
    }
}

fn url(text: &str, _: &Path) -> Result<String, Fault> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())) {
        true => Ok(text.to_owned()),
        false => {
            Err(Fault::new(format!("`{text}` is not a URL"))
                .hint("write \"http://localhost:4318\""))
        }
    }
}

fn request_path(text: &str, _: &Path) -> Result<String, Fault> {
    match text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(format!("`{text}` is not a path"))
            .hint("it starts with / and has visible ASCII only")),
    }
}

/// The name of an environment variable, as a shell would take it.
fn variable(name: &str) -> Result<(), Fault> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    match name.bytes().all(fine)
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
    {
        true => Ok(()),
        false => Err(Fault::new(format!("`{name}` cannot be the name of a variable"))
            .hint("it has letters, digits and `_`, and does not start with a digit")),
    }
}
