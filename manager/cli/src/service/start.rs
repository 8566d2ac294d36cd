//! `bs9 start`: describe a service and run it, or start one that is described.

use std::{
    env,
    path::{Path, PathBuf},
};

use bs9_api::types::{DeployService, StartService, UpdateWay};
use bs9_config::ServiceDraft;
use bs9_manager::audit_source;
use clap::Args;

use super::{client, report, resolve, source};
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
};

const EXAMPLES: &str = "\
Examples:
  bs9 start server.js -p 3000                      node is found by the ending
  bs9 start api.ts -n api -p 3000 -i 2             two instances, PORT=3000 and PORT=3001
  bs9 start app.py -e STAGE=prod --env-file .env   variables; their values are never shown
  bs9 start -n web -- npm run serve                any command
  bs9 start api.ts -p 3000 --health /healthz --route api.example.com
                                                   behind the data plane, health-checked
  bs9 start api.ts -p 3000 --build                 compiled first; the result is kept apart
  bs9 start server.js -p 3000 --watch              reloaded whenever its source changes
  bs9 start api                                    one that is described already
  bs9 start server.js --check                      what the audit of its source finds; starts nothing
  bs9 start all

It writes services/NAME.toml, which is yours to edit (`bs9 apply` brings changes about), and a unit for
each instance. Started again with other flags it says what changes, and rolls. Services are kept from
nearly everything; `bs9 inspect NAME` shows from what, --relax and --write open what is needed.";

/// What is started, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A script or program, or the names of services that are described already.
    #[arg(value_name = "FILE|NAME")]
    targets: Vec<String>,
    /// Its name [default: the file's, without its ending].
    #[arg(long, short)]
    name: Option<String>,
    /// The first instance's port, told to it as PORT; each further one has the next.
    #[arg(long, short)]
    port: Option<u16>,
    /// Told to it as HOST, an IP address [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// A variable of its environment; as often as needed.
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A file of NAME=value lines, read at each start.
    #[arg(long, value_name = "PATH")]
    env_file: Vec<PathBuf>,
    /// How many run: a number, or `max` for one a core.
    #[arg(long, short, value_name = "N|max")]
    instances: Option<String>,
    /// What runs the script [default: found by its ending].
    #[arg(long, value_name = "PROGRAM")]
    interpreter: Option<String>,
    /// Where it is run [default: the script's folder, for a command this one].
    #[arg(long, value_name = "PATH")]
    cwd: Option<PathBuf>,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A system service; the manager has to run as root.
    #[arg(long)]
    system: bool,
    /// The user a system service runs as.
    #[arg(long, value_name = "NAME", requires = "system")]
    user: Option<String>,
    /// no, on-failure or always.
    #[arg(long, value_name = "WHEN")]
    restart: Option<String>,
    /// Before the first restart, such as 500ms; it doubles with each failure in a row.
    #[arg(long, value_name = "DURATION")]
    restart_delay: Option<String>,
    /// Memory at which it is killed, such as 256MiB.
    #[arg(long, visible_alias = "max-memory-restart", value_name = "SIZE")]
    memory: Option<String>,
    /// Cores it may use, such as 0.5.
    #[arg(long, value_name = "CORES")]
    cpu: Option<f64>,
    /// Threads and processes it may have.
    #[arg(long, value_name = "N")]
    tasks: Option<u32>,
    /// It tells systemd when it is ready (sd_notify).
    #[arg(long, conflicts_with = "health")]
    notify: bool,
    /// It is ready and healthy when GET of this path is answered 2xx or 3xx.
    #[arg(long, value_name = "PATH")]
    health: Option<String>,
    /// How long it may take to be ready [default: 15s].
    #[arg(long, value_name = "DURATION")]
    ready_timeout: Option<String>,
    /// Requests the data plane sends to it: a host, a path, or both (api.example.com/v1/).
    #[arg(long, value_name = "HOST/PATH")]
    route: Option<String>,
    /// The listener of the data plane that gets the route [default: the only one].
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// What it is not kept from: jit, home, working-folder, devices, tmp, system-calls, namespaces,
    /// netlink, privileges, processes, low-ports, everything.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    relax: Vec<String>,
    /// A folder it may write.
    #[arg(long, value_name = "PATH")]
    write: Vec<PathBuf>,
    /// Where it sends traces, told to it as OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, value_name = "URL")]
    otel_endpoint: Option<String>,
    /// Start it in spite of what the audit of its source finds; that is recorded, and what was
    /// found is accepted from then on.
    #[arg(long)]
    force: bool,
    /// Show what the audit of its source finds, and start nothing.
    #[arg(long, conflicts_with = "force")]
    check: bool,
    /// Compile the script (.ts) first [default: by the first that is there of esbuild, bun, tsc and
    /// deno; the project's own before the machine's].
    #[arg(long, value_name = "COMPILER", num_args = 0..=1, require_equals = true,
        default_missing_value = "auto")]
    build: Option<String>,
    /// Reload it when its source changes: these files and folders, separated by commas [default:
    /// where it is run].
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true,
        value_delimiter = ',', default_missing_value = ".")]
    watch: Vec<PathBuf>,
    /// What of it is not watched, such as '*.md' or 'tests/**'.
    #[arg(long, value_name = "PATTERN", value_delimiter = ',', requires = "watch")]
    ignore: Vec<String>,
    /// Bring instances that run to it all at once, not one by one.
    #[arg(long)]
    at_once: bool,
    /// What follows the script; or a whole command, without a file before it.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let new = match arguments.targets.as_slice() {
        [] => !arguments.arguments.is_empty(),
        [only] => is_file(only),
        _ => false,
    };
    match new {
        true => deploy(arguments, global),
        false => start(&arguments, global),
    }
}

/// A word that names a file; a service of the same name is started by its own name
/// from any other folder.
fn is_file(word: &str) -> bool {
    Path::new(word).is_file() || word.contains('/')
}

fn start(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    if arguments.targets.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is nothing to start")
            .hint("name a file, a service, or give a command after --"));
    }
    if arguments.describes() {
        let name = &arguments.targets[0];
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no file `{name}`, and flags describe a new service"),
        )
        .hint("to change one that is there, edit its file (`bs9 status NAME` says where) and `bs9 apply`"));
    }
    let (client, force) = (client(global), arguments.force);
    if arguments.check {
        let audits = runtime::block_on(async {
            let mut audits = Vec::new();
            for name in resolve(&client, &arguments.targets).await? {
                audits.push(client.audit_source(&name).await?);
            }
            Ok(audits)
        })?;
        return source::show(&audits, global);
    }
    runtime::block_on(async {
        for name in resolve(&client, &arguments.targets).await? {
            let outcome = client.start_service(&name, &StartService { force }).await?;
            report(&outcome, global)?;
        }
        Ok(())
    })
}

fn deploy(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let update = if arguments.at_once { UpdateWay::Restart } else { UpdateWay::Roll };
    let name = arguments.service_name()?;
    let (check, force) = (arguments.check, arguments.force);
    let definition = arguments.draft()?.to_toml();
    if check {
        let here = env::current_dir()
            .map_err(|error| Failure::io("cannot tell which folder this is", error))?;
        let path = here.join(format!("{name}.toml"));
        let audit = audit_source(&path, &definition).map_err(Failure::report)?;
        return source::show(&[audit], global);
    }
    let client = client(global);
    let deployed = runtime::block_on(async {
        Ok(client.deploy_service(&name, &DeployService { definition, update, force }).await?)
    })?;
    report(&deployed, global)
}

impl Arguments {
    /// Whether anything but names was given.
    fn describes(&self) -> bool {
        self.name.is_some()
            || self.port.is_some()
            || self.instances.is_some()
            || !self.env.is_empty()
            || !self.env_file.is_empty()
            || self.route.is_some()
            || self.health.is_some()
            || !self.arguments.is_empty()
    }

    fn service_name(&self) -> Result<String, Failure> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let program = self.targets.first().or(self.arguments.first());
        let stem =
            program.and_then(|file| Path::new(file).file_stem()?.to_str().map(str::to_owned));
        stem.ok_or_else(|| {
            Failure::new(Exit::Usage, "the service has no name").hint("give it one with --name")
        })
    }

    fn draft(self) -> Result<ServiceDraft, Failure> {
        let here = env::current_dir()
            .map_err(|error| Failure::io("cannot tell which folder this is", error))?;
        let script = self.targets.first().map(|file| here.join(file));
        let (command, arguments) = match &script {
            Some(_) => (Vec::new(), self.arguments),
            None => (self.arguments, Vec::new()),
        };
        let folder = self.cwd.map(|folder| here.join(folder));
        let folder = folder.or_else(|| script.is_none().then(|| here.clone()));
        let watched = folder.as_deref().or_else(|| script.as_deref()?.parent()).unwrap_or(&here);
        let watch = self
            .watch
            .iter()
            .map(|path| match path.as_os_str() == "." {
                true => plain(watched),
                false => plain(&here.join(path)),
            })
            .collect();
        let (route_host, route_path) = self.route.as_deref().map_or((None, None), split_route);
        let environment = self.env.iter().map(|pair| variable(pair)).collect::<Result<_, _>>()?;
        Ok(ServiceDraft {
            description: self.description,
            command,
            script: script.map(|path| plain(&path)),
            interpreter: self.interpreter,
            arguments,
            working_folder: folder.map(|path| plain(&path)),
            environment,
            environment_files: self.env_file.iter().map(|file| plain(&here.join(file))).collect(),
            port: self.port,
            host: self.host,
            instances: self.instances,
            scope: self.system.then_some("system"),
            user: self.user,
            otel_endpoint: self.otel_endpoint,
            build: self.build,
            watch,
            watch_ignore: self.ignore,
            restart: self.restart,
            restart_delay: self.restart_delay,
            memory_max: self.memory,
            cpu: self.cpu,
            tasks: self.tasks,
            notify: self.notify,
            ready_path: self.health.clone(),
            ready_timeout: self.ready_timeout,
            listener: self.listener,
            route_host,
            route_path,
            health_path: self.health,
            relax: self.relax,
            writable: self.write.iter().map(|path| plain(&here.join(path))).collect(),
        })
    }
}

/// `host`, `/path` or `host/path`.
fn split_route(route: &str) -> (Option<String>, Option<String>) {
    let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match route.find('/') {
        Some(at) => (part(&route[..at]), part(&route[at..])),
        None => (part(route), None),
    }
}

fn variable(pair: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::new(Exit::Usage, format!("`{pair}` is not NAME=VALUE"))),
    }
}

/// Without `.` and `..`, and with symbolic links as they are: a folder that is
/// switched by its link stays switchable.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_hosts_paths_or_both() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            ("api.example.com", (some("api.example.com"), None)),
            ("/v1/", (None, some("/v1/"))),
            ("a.example/v1/", (some("a.example"), some("/v1/"))),
        ];
        for (route, expected) in cases {
            assert_eq!(split_route(route), expected, "{route}");
        }
    }

    #[test]
    fn paths_are_written_plainly() {
        assert_eq!(
            plain(Path::new("/srv/./app/../api/server.js")),
            Path::new("/srv/api/server.js")
        );
    }
}
