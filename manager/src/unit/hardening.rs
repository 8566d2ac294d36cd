//! The sandbox of a unit: strict by default, and each relaxation takes away one
//! part of it (systemd.exec(5)).

use std::path::{Path, PathBuf};

use bs9_config::{Relaxation, Service, ServiceScope};

use super::{Program, Surroundings, quote};
use crate::build;

/// From this version on, a user's unit gets the user namespace that file system
/// sandboxing needs without asking for it.
const IMPLIES_PRIVATE_USERS: u32 = 254;

/// A line of `[Service]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// A relaxation, and why it is there when nobody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relaxed {
    pub(crate) relaxation: Relaxation,
    pub(crate) because: Option<String>,
}

/// What a service is not kept from: as described, and as its program needs.
pub(crate) fn relaxations(service: &Service, program: &Program) -> Vec<Relaxed> {
    let mut relaxed: Vec<_> = service
        .hardening
        .relax
        .iter()
        .map(|&relaxation| Relaxed { relaxation, because: None })
        .collect();
    let everything = service.hardening.relax.contains(&Relaxation::Everything);
    if program.is_jit() && !everything && !service.hardening.relax.contains(&Relaxation::Jit) {
        let because = format!("{} compiles while it runs", program.path.display());
        relaxed.push(Relaxed { relaxation: Relaxation::Jit, because: Some(because) });
    }
    relaxed
}

/// The sandbox of a service. It needs to know the program: a program below a home
/// folder has to stay visible.
pub(crate) fn sandbox(
    service: &Service,
    program: &Program,
    around: &Surroundings,
) -> Vec<Directive> {
    let relaxed = relaxations(service, program);
    let is = |wanted| relaxed.iter().any(|found| found.relaxation == wanted);
    let mut lines = Lines(Vec::new());
    if is(Relaxation::Everything) {
        return lines.0;
    }
    lines.on("NoNewPrivileges", !is(Relaxation::Privileges));
    lines.on("LockPersonality", true);
    lines.on("RestrictRealtime", true);
    lines.on("RestrictSUIDSGID", true);
    lines.on("RemoveIPC", true);
    lines.on("MemoryDenyWriteExecute", !is(Relaxation::Jit));
    lines.on("RestrictNamespaces", !is(Relaxation::Namespaces));
    if !is(Relaxation::Netlink) {
        lines.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6");
    }
    lines.set("SystemCallArchitectures", "native");
    if !is(Relaxation::SystemCalls) {
        // Both lists belong together: the second takes away from the first.
        lines.set("SystemCallFilter", "@system-service");
        lines.set("SystemCallFilter", "~@privileged @resources");
        lines.set("SystemCallErrorNumber", "EPERM");
    }
    lines.set("UMask", "0077");
    lines.set("KeyringMode", "private");
    capabilities(&mut lines, service, is(Relaxation::LowPorts), is(Relaxation::Privileges));
    kernel(&mut lines, &is);
    files(&mut lines, service, program, around, &is);
    lines.0
}

fn capabilities(lines: &mut Lines, service: &Service, low_ports: bool, privileges: bool) {
    if low_ports && service.scope == ServiceScope::System {
        lines.set("AmbientCapabilities", "CAP_NET_BIND_SERVICE");
        lines.set("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE");
    } else if !privileges {
        lines.set("CapabilityBoundingSet", "");
        lines.set("AmbientCapabilities", "");
    }
}

fn kernel(lines: &mut Lines, is: &impl Fn(Relaxation) -> bool) {
    for name in [
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
    ] {
        lines.on(name, true);
    }
    lines.on("PrivateDevices", !is(Relaxation::Devices));
    if !is(Relaxation::Processes) {
        lines.set("ProtectProc", "invisible");
        lines.set("ProcSubset", "pid");
    }
}

fn files(
    lines: &mut Lines,
    service: &Service,
    program: &Program,
    around: &Surroundings,
    is: &impl Fn(Relaxation) -> bool,
) {
    let user = service.scope == ServiceScope::User;
    // Without it, older versions quietly leave out everything below.
    lines.on(
        "PrivateUsers",
        user && around.systemd_version < IMPLIES_PRIVATE_USERS && !is(Relaxation::Privileges),
    );
    lines.set("ProtectSystem", "strict");
    lines.on("PrivateTmp", !is(Relaxation::Tmp));
    let folder = service.working_folder.as_path();
    let mut writable: Vec<&Path> =
        service.hardening.writable.iter().map(PathBuf::as_path).collect();
    if is(Relaxation::WorkingFolder) {
        writable.push(folder);
    }
    if is(Relaxation::Home) {
        lines.set("ProtectHome", "read-only");
        writable.sort_unstable();
        for path in writable {
            lines.set("ReadWritePaths", &quote::word(&path.to_string_lossy()));
        }
        return;
    }
    lines.set("ProtectHome", "tmpfs");
    let hidden = |path: &Path| is_hidden(path, around.home.as_deref(), is(Relaxation::Tmp));
    let mut readable: Vec<PathBuf> = vec![folder.to_owned()];
    readable.extend(service.run.script().and_then(Path::parent).map(Path::to_owned));
    readable.extend(installation(&program.path));
    readable.extend(build::needs(service, &around.state_folder));
    readable.extend(service.hardening.readable.iter().cloned());
    readable.sort_unstable();
    readable.dedup();
    for path in readable.iter().filter(|path| hidden(path)) {
        if !writable.contains(&path.as_path()) {
            lines.set("BindReadOnlyPaths", &quote::word(&path.to_string_lossy()));
        }
    }
    writable.sort_unstable();
    for path in writable {
        let name = if hidden(path) { "BindPaths" } else { "ReadWritePaths" };
        lines.set(name, &quote::word(&path.to_string_lossy()));
    }
}

/// Whether the sandbox makes a path look empty.
fn is_hidden(path: &Path, home: Option<&Path>, shared_tmp: bool) -> bool {
    const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
    const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
    HOMES.iter().any(|hidden| path.starts_with(hidden))
        || home.is_some_and(|home| home != Path::new("/") && path.starts_with(home))
        || (!shared_tmp && TEMPORARY.iter().any(|hidden| path.starts_with(hidden)))
}

/// Folders that a program needs to see of its own installation: where it stands,
/// where it leads to, and the folder above a `bin`, which has its libraries.
fn installation(program: &Path) -> Vec<PathBuf> {
    let real = program.canonicalize().ok();
    let mut folders = Vec::new();
    for path in [Some(program), real.as_deref()].into_iter().flatten() {
        let Some(folder) = path.parent() else { continue };
        let prefix = folder
            .parent()
            .filter(|_| folder.file_name().is_some_and(|name| name == "bin" || name == "shims"));
        // `~/.local` has more than programs in it.
        let prefix = prefix.filter(|prefix| prefix.file_name().is_none_or(|name| name != ".local"));
        folders.push(prefix.unwrap_or(folder).to_owned());
    }
    folders
}

struct Lines(Vec<Directive>);

impl Lines {
    fn set(&mut self, name: &'static str, value: &str) {
        self.0.push(Directive { name, value: value.to_owned() });
    }

    fn on(&mut self, name: &'static str, yes: bool) {
        if yes {
            self.set(name, "yes");
        }
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::parse_service;

    use super::*;

    fn lines(text: &str, program: &str) -> Vec<String> {
        let service = parse_service(Path::new("/srv/app/app.toml"), text).unwrap();
        let program = Program { path: program.into(), arguments: Vec::new() };
        let around = Surroundings {
            systemd_version: 252,
            home: Some("/home/ann".into()),
            ..Surroundings::new(ServiceScope::User, "/state".into())
        };
        let directives = sandbox(&service, &program, &around);
        directives.into_iter().map(|line| format!("{}={}", line.name, line.value)).collect()
    }

    fn has(lines: &[String], line: &str) -> bool {
        lines.iter().any(|found| found == line)
    }

    #[test]
    fn strict_unless_told_otherwise() {
        let strict = lines("command = [\"x\"]", "/usr/bin/x");
        for line in [
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "ProtectHome=tmpfs",
            "MemoryDenyWriteExecute=yes",
            "PrivateUsers=yes",
            "CapabilityBoundingSet=",
        ] {
            assert!(has(&strict, line), "{line}: {strict:#?}");
        }
        assert!(!strict.iter().any(|line| line.starts_with("Bind")), "{strict:#?}");
    }

    #[test]
    fn each_relaxation_takes_away_its_part() {
        let cases = [
            ("jit", "MemoryDenyWriteExecute=yes"),
            ("home", "ProtectHome=tmpfs"),
            ("devices", "PrivateDevices=yes"),
            ("tmp", "PrivateTmp=yes"),
            ("system-calls", "SystemCallFilter=@system-service"),
            ("namespaces", "RestrictNamespaces=yes"),
            ("netlink", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"),
            ("privileges", "NoNewPrivileges=yes"),
            ("processes", "ProtectProc=invisible"),
        ];
        for (word, line) in cases {
            let text = format!("command = [\"x\"]\nhardening.relax = [\"{word}\"]");
            assert!(!has(&lines(&text, "/usr/bin/x"), line), "{word}");
        }
        let text = "command = [\"x\"]\nhardening.relax = [\"everything\"]";
        assert_eq!(lines(text, "/usr/bin/node"), [""; 0]);
    }

    #[test]
    fn a_compiler_gets_what_it_needs_and_it_is_said_why() {
        assert!(!has(
            &lines("command = [\"node\"]", "/usr/bin/node"),
            "MemoryDenyWriteExecute=yes"
        ));
        let service = parse_service(Path::new("/a/app.toml"), "command = [\"node\"]").unwrap();
        let program = Program { path: "/usr/bin/node".into(), arguments: Vec::new() };
        let relaxed = relaxations(&service, &program);
        assert!(relaxed[0].because.as_ref().unwrap().contains("compiles"));
    }

    #[test]
    fn an_application_below_a_home_folder_is_seen_and_nothing_else_of_it() {
        let text = "command = [\"x\"]\nworking_folder = \"/home/ann/app\"\n\
                    hardening.writable = [\"/home/ann/app/uploads\", \"/var/lib/app\"]";
        let found = lines(text, "/home/ann/.nvm/v22/bin/x");
        for line in [
            "BindReadOnlyPaths=\"/home/ann/app\"",
            "BindReadOnlyPaths=\"/home/ann/.nvm/v22\"",
            "BindPaths=\"/home/ann/app/uploads\"",
            "ReadWritePaths=\"/var/lib/app\"",
        ] {
            assert!(has(&found, line), "{line}: {found:#?}");
        }
    }
}
