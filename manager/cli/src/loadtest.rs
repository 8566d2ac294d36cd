//! `bs9 loadtest`: load on a server, and what it makes of it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use bs9_loadtest::{
    Options, Plan, PlanError, ProgressLine, QueryMode, Rate, Report, RunError, Scenario, Script,
    StatusSet, Target, Threshold, TlsOptions,
    plan::HttpOptions,
    quantity::{parse_duration, parse_size},
};
use clap::Args;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    limits,
    runtime::{self, Stop},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 loadtest                                               what `make run` started
  bs9 loadtest http://127.0.0.1:8080/ -c 256 -d 1m           256 connections for a minute
  bs9 loadtest http://127.0.0.1:8080/ --rate 20000 --warmup 2s
  bs9 loadtest http://127.0.0.1:8080/ --rate 100..5000 -d 1m a ramp
  bs9 loadtest http://127.0.0.1:8080/orders --body @order.json -H 'Content-Type: application/json'
  bs9 loadtest https://127.0.0.1:8443/ --ca ca.pem --http2 --streams 32 -c 8
  bs9 loadtest http://127.0.0.1:8080/ --threshold 'p99 < 5ms' --threshold 'errors == 0'
  bs9 loadtest tcp://127.0.0.1:7000 --payload-size 4KiB      a server that echoes
  bs9 loadtest ws://127.0.0.1:8080/chat -H 'Cookie: id=1'    one that echoes messages
  bs9 loadtest postgres://app@127.0.0.1:6432/app --script tpcb.sql -D scale=10 --mode prepared
  PGPASSWORD=secret bs9 loadtest postgres://app@127.0.0.1:6432/app --mode prepared
  bs9 loadtest --scenario shop.toml --html report.html       stages, mixes, checks: a file says how

Without --rate each connection sends its next request when the response is in; with it requests are
due at their time, whatever the server does, and latency counts from then. Exit code 1 when a
threshold is not kept or nothing succeeded, 5 when the scenario is invalid, 6 when nothing could be reached. Other machines are only put under load with --allow-remote.";

/// Where the sample of `bs9 quickstart` listens.
const SAMPLE: &str = "http://127.0.0.1:8080/";

/// Flags whose place in a scenario is the file.
const SAID_BY_SCENARIOS: [&str; 17] = [
    "connections",
    "duration",
    "requests",
    "rate",
    "warmup",
    "no_keepalive",
    "timeout",
    "connect_timeout",
    "method",
    "headers",
    "body",
    "expect_status",
    "expect_body",
    "payload_size",
    "query",
    "script",
    "mode",
];

/// Where the load goes, how much, and what counts as good.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// http://, ws://, tcp:// (over TLS: https://, wss://, tls://) or postgres:// and a place
    /// [default: http://127.0.0.1:8080/, where `bs9 quickstart` and `make run` listen].
    #[arg(value_name = "URL")]
    target: Option<Target>,
    /// A file that says what is sent, how much of it and what has to be kept (docs/LOADTEST.md).
    /// Its target is put under load, unless a URL is given.
    #[arg(long, value_name = "FILE", conflicts_with_all = SAID_BY_SCENARIOS)]
    scenario: Option<PathBuf>,
    /// Connections, over all threads.
    #[arg(long, short, default_value_t = 64, value_name = "COUNT")]
    connections: usize,
    /// Threads [default: as many as there are cores].
    #[arg(long, short, value_name = "COUNT")]
    threads: Option<usize>,
    /// How long requests are sent [default: 10s, unless --requests is given].
    #[arg(long, short, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// How many requests are sent.
    #[arg(long, short = 'n', value_name = "COUNT")]
    requests: Option<u64>,
    /// Requests a second, whatever the server does: constant, or a ramp such as 100..1000.
    #[arg(long, short, value_name = "RATE")]
    rate: Option<Rate>,
    /// Load before anything is measured.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = parse_duration)]
    warmup: Duration,
    /// A connection of its own for each request.
    #[arg(long)]
    no_keepalive: bool,
    /// From sending a request to the end of its response.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
    /// From connecting until the first request can be sent, login included.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = parse_duration)]
    connect_timeout: Duration,
    /// Put load on another machine than this one.
    #[arg(long)]
    allow_remote: bool,
    /// A bound to keep, such as 'p99 < 5ms'; may be given more than once.
    #[arg(long, value_name = "BOUND")]
    threshold: Vec<Threshold>,
    /// Also write it second by second, as comma-separated values.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Also write it as a page for browsers, with charts.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    http: HttpArguments,
    #[command(flatten)]
    tls: TlsArguments,
    /// http://, https://: HTTP/2, with prior knowledge or agreed on in the handshake.
    #[arg(long)]
    http2: bool,
    /// HTTP/2: requests at the same time on each connection [default: 1].
    #[arg(long, short = 'm', value_name = "COUNT")]
    streams: Option<usize>,
    /// tcp://, ws://: bytes of a payload, such as 4KiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    payload_size: Option<usize>,
    /// postgres://: the query [default: SELECT 1].
    #[arg(long, short, value_name = "SQL")]
    query: Option<String>,
    /// postgres://: a transaction in the manner of pgbench instead of a query: statements that end
    /// with `;`, and lines such as `\set id random(1, 1000 * :scale)`.
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    script: Option<PathBuf>,
    /// --script: a variable that has a value from the beginning; may be given more than once.
    #[arg(long = "define", short = 'D', value_name = "NAME=NUMBER", value_parser = definition,
          requires = "script")]
    definitions: Vec<(String, i64)>,
    /// postgres://: simple, extended or prepared.
    #[arg(long, value_name = "MODE")]
    mode: Option<QueryMode>,
}

/// The request of an `http://` target.
#[derive(Debug, Args)]
struct HttpArguments {
    /// http://: the method [default: GET, POST with --body].
    #[arg(long, short = 'X', value_name = "METHOD")]
    method: Option<String>,
    /// http://, ws://: a header field, 'Name: value'; may be given more than once.
    #[arg(long = "header", short = 'H', value_name = "FIELD", value_parser = header)]
    headers: Vec<(String, String)>,
    /// http://: the body, or @FILE.
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// http://: expected statuses, such as 200,204 or 2xx [default: below 400].
    #[arg(long, value_name = "STATUS")]
    expect_status: Option<StatusSet>,
    /// http://: a text every body has to hold.
    #[arg(long, value_name = "TEXT")]
    expect_body: Option<String>,
}

/// How an `https://` target is met.
#[derive(Debug, Args)]
struct TlsArguments {
    /// https://: trust the authorities in this file (PEM) instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// https://: take any certificate of anybody.
    #[arg(long)]
    insecure: bool,
    /// https://: the name to ask for and to expect in the certificate [default: the URL's host].
    #[arg(long = "servername", value_name = "NAME")]
    server_name: Option<String>,
    /// https://: resume sessions; otherwise each connection makes a full handshake.
    #[arg(long)]
    tls_resume: bool,
}

impl TlsArguments {
    fn resolve(self) -> TlsOptions {
        if self.insecure {
            terminal::remark(
                "warning: certificates are not checked (--insecure): whoever answers is measured",
            );
        }
        TlsOptions {
            ca_file: self.ca,
            insecure: self.insecure,
            server_name: self.server_name,
            resume: self.tls_resume,
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("`{text}` is not of the form 'Name: value'"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn definition(text: &str) -> Result<(String, i64), String> {
    let wrong = || format!("`{text}` is not of the form NAME=NUMBER");
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.trim().to_owned(), value.trim().parse().map_err(|_| wrong())?))
}

fn script(file: &Path, definitions: &[(String, i64)]) -> Result<Script, Failure> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::io(format!("cannot read the script {name}"), error))?;
    Script::parse(&text, definitions)
        .map_err(|error| Failure::new(Exit::Usage, format!("the script {name}, {error}")))
}

impl HttpArguments {
    fn resolve(self) -> Result<HttpOptions, Failure> {
        let body = match self.body {
            Some(text) => Some(match text.strip_prefix('@') {
                Some(file) => fs::read(file)
                    .map_err(|error| Failure::io(format!("cannot read the body {file}"), error))?,
                None => text.into_bytes(),
            }),
            None => None,
        };
        Ok(HttpOptions {
            method: self.method,
            headers: self.headers,
            body,
            expect_status: self.expect_status,
            expect_body: self.expect_body,
        })
    }
}

impl Arguments {
    fn resolve(self) -> Result<Plan, Failure> {
        if let Some(file) = self.scenario.clone() {
            return self.resolve_scenario(&file);
        }
        let mut target = match self.target {
            Some(target) => target,
            None => SAMPLE.parse().expect("the sample's address is a URL"),
        };
        supply_password(&mut target);
        let script = self.script.as_deref().map(|file| script(file, &self.definitions));
        let options = Options {
            connections: self.connections,
            threads: self.threads,
            duration: self.duration,
            requests: self.requests,
            rate: self.rate,
            warm_up: self.warmup,
            keep_alive: !self.no_keepalive,
            request_timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            allow_remote: self.allow_remote,
            thresholds: self.threshold,
            http: self.http.resolve()?,
            tls: self.tls.resolve(),
            http2: self.http2,
            streams: self.streams,
            payload_bytes: self.payload_size,
            query: self.query,
            script: script.transpose()?,
            query_mode: self.mode,
        };
        Plan::new(target, options).map_err(no_plan)
    }

    /// What a scenario file asks for, and what only the command line can say.
    fn resolve_scenario(self, file: &Path) -> Result<Plan, Failure> {
        let mut scenario = Scenario::read(file, self.target).map_err(|error| {
            terminal::remark(error.render(true));
            Failure::silent(Exit::Config)
        })?;
        supply_password(scenario.target());
        let options = &mut scenario.options;
        options.threads = self.threads.or(options.threads);
        options.allow_remote = self.allow_remote;
        options.thresholds.extend(self.threshold);
        options.tls = self.tls.resolve();
        options.http2 |= self.http2;
        options.streams = self.streams.or(options.streams);
        scenario.plan().map_err(no_plan)
    }
}

fn supply_password(target: &mut Target) {
    if let Ok(password) = std::env::var("PGPASSWORD") {
        target.supply_password(&password);
    }
}

fn no_plan(error: PlanError) -> Failure {
    Failure::new(Exit::Usage, error.to_string())
}

/// The files a report is written to besides the terminal.
struct Files {
    csv: Option<PathBuf>,
    html: Option<PathBuf>,
}

impl Files {
    /// Whether they can be written, before anything is measured.
    fn check(&self) -> Result<(), Failure> {
        for file in [&self.csv, &self.html].into_iter().flatten() {
            let opened = File::options().append(true).create(true).open(file);
            opened.map_err(|error| cannot_write(file, error))?;
        }
        Ok(())
    }

    fn write(&self, report: &Report) -> Result<(), Failure> {
        let write = |file: &Option<PathBuf>, text: &dyn Fn() -> String| match file {
            Some(file) => fs::write(file, text()).map_err(|error| cannot_write(file, error)),
            None => Ok(()),
        };
        write(&self.csv, &|| report.to_csv())?;
        write(&self.html, &|| report.to_html())
    }
}

fn cannot_write(file: &Path, error: io::Error) -> Failure {
    Failure::io(format!("cannot write {}", file.display()), error)
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let files = Files { csv: arguments.csv.clone(), html: arguments.html.clone() };
    let given = arguments.target.is_some() || arguments.scenario.is_some();
    let aim = if given { Aim::Given } else { Aim::Sample };
    let plan = arguments.resolve()?;
    files.check()?;
    limits::raise_open_files();
    let stop = stop_on_signal();
    let line = ProgressLine::new(&plan);
    let result = bs9_loadtest::run(&plan, &stop, |progress| line.show(progress));
    line.clear();
    let report = result.map_err(|error| not_measured(error, aim))?;
    files.write(&report)?;
    show(&report, global)?;
    if report.passed { Ok(()) } else { Err(Failure::silent(Exit::Error)) }
}

fn show(report: &Report, global: &Global) -> Result<(), Failure> {
    if global.json {
        return terminal::json(report);
    }
    terminal::say(report.to_string().trim_end())
}

/// Set by the first SIGINT or SIGTERM: what was measured until then is reported.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    // Ends with the process.
    thread::spawn(move || {
        let waited = runtime::block_on(async {
            Stop::new()?.wait().await;
            Ok(())
        });
        if let Err(failure) = waited {
            terminal::remark(failure.render().unwrap_or_default());
        }
        flag.store(true, Relaxed);
    });
    stop
}

/// Who said where the load goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// The user.
    Given,
    /// Nobody, so it goes to the sample.
    Sample,
}

fn not_measured(error: RunError, aim: Aim) -> Failure {
    let exit = match &error {
        RunError::Resolve { .. } | RunError::Unreached { .. } | RunError::NotReady { .. } => {
            Exit::Network
        }
        RunError::Remote { .. } => Exit::Usage,
        RunError::System { source } => Exit::of_io(source),
        _ => Exit::Error,
    };
    let hint = match (&error, aim) {
        (RunError::Remote { .. }, _) => {
            Some("say --allow-remote when that machine is yours to put under load")
        }
        (RunError::Unreached { .. }, Aim::Sample) => {
            Some("start `make run` first, or say where the load is to go")
        }
        _ => None,
    };
    let text = error.to_string();
    let failure = match std::error::Error::source(&error) {
        Some(cause) => Failure::new(exit, text).because(anyhow::anyhow!(cause.to_string())),
        None => Failure::new(exit, text),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
