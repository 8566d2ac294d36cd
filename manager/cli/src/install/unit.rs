//! The text of the units (systemd.unit(5)).

use std::{
    fmt::{Display, Write as _},
    net::SocketAddr,
    path::Path,
    thread,
};

use bs9_config::{Admin, BindAddress, Config, ListenerProtocol, Shards};

use super::{
    place::{Place, Scope},
    settings::Settings,
};

/// The account of the machine's data plane.
pub(super) const ACCOUNT: &str = "bs9";
/// A watchdog fires when neither loop nor shards have turned for so long.
const WATCHDOG: &str = "30s";
/// More sockets of one address than this spread nothing any better.
const MAX_SOCKETS: usize = 64;
/// Beyond the drain, for what is left.
const STOP_MARGIN_SECONDS: u64 = 15;
/// The folders of which `PrivateTmp` makes others (systemd.exec(5)).
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

const DATA_PLANE: &str = "bs9.service";
const LISTENERS: &str = "bs9.socket";
const ADMIN: &str = "bs9-admin.socket";
const MANAGER: &str = "bs9-manager.service";
const MANAGER_ADMIN: &str = "bs9-manager.socket";

/// A unit file.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// Sockets first.
pub(super) fn all(place: &Place, settings: &Settings, program: &Path) -> Vec<Unit> {
    let listeners = listeners(place, settings);
    let fed = listeners.is_some();
    let mut units: Vec<_> = listeners.into_iter().collect();
    units.push(admin(place, &settings.config.admin, &settings.admin_socket(place)));
    units.push(manager_admin(place, &settings.manager.admin, &settings.manager_socket(place)));
    units.push(data_plane(place, settings, program, fed));
    units.push(manager(place, settings, program));
    units
}

/// Whether a unit is one of sockets.
pub(super) fn is_socket(name: &str) -> bool {
    name.ends_with(".socket")
}

/// A path in which `%` means nothing.
pub(super) fn literal(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// A path as a word of a list or a command line.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$"))
}

// === sockets ===

/// What the listeners of the configuration are bound to. Port 0 is another one each time,
/// so it is bound by the data plane itself.
fn listeners(place: &Place, settings: &Settings) -> Option<Unit> {
    let config = &settings.config;
    let mut lines = Lines::default();
    let mut seen = Vec::new();
    for listener in config.listeners.values() {
        let udp = matches!(listener.protocol, ListenerProtocol::Udp(_));
        for address in &listener.bind {
            let fixed = !matches!(address, BindAddress::Tcp(tcp) if tcp.port() == 0);
            if fixed && !seen.contains(&(udp, address)) {
                seen.push((udp, address));
                listen(&mut lines, address, udp, shards(config));
            }
        }
    }
    if lines.0.is_empty() {
        return None;
    }
    lines.comment("One socket a shard of the data plane, so that the kernel spreads connections.");
    lines.set("ReusePort", "yes");
    lines.set("BindIPv6Only", "ipv6-only");
    lines.set("NoDelay", "yes");
    lines.comment("Who may connect to a Unix socket is its folder's business.");
    lines.set("SocketMode", "0777");
    lines.set("DirectoryMode", "0755");
    lines.set("RemoveOnStop", "yes");
    lines.set("Service", DATA_PLANE);
    let about = "bs9: the addresses of its listeners";
    Some(socket_unit(LISTENERS, about, "", &lines, place))
}

fn listen(lines: &mut Lines, address: &BindAddress, udp: bool, shards: usize) {
    match address {
        BindAddress::Unix(path) => lines.set("ListenStream", literal(path)),
        BindAddress::Tcp(tcp) => {
            let name = if udp { "ListenDatagram" } else { "ListenStream" };
            (0..shards).for_each(|_| lines.set(name, tcp));
        }
    }
}

/// How many shards the data plane will have.
fn shards(config: &Config) -> usize {
    let count = match config.runtime.shards {
        Shards::Count(count) => count.get(),
        Shards::Auto => thread::available_parallelism().map_or(1, usize::from),
    };
    count.min(MAX_SOCKETS)
}

fn admin(place: &Place, admin: &Admin, socket: &str) -> Unit {
    let mut lines = admin_lines(admin, socket);
    if place.scope == Scope::System {
        // The manager, which is root without its powers, comes in by the group.
        lines.set("SocketUser", ACCOUNT);
        lines.set("SocketGroup", "root");
    }
    let mode = match (admin.peers.is_empty(), place.scope) {
        (false, _) => "0666",
        (true, Scope::System) => "0660",
        (true, Scope::User) => "0600",
    };
    lines.set("SocketMode", mode);
    lines.set("Service", DATA_PLANE);
    // Else the next look of the manager would start again what was stopped.
    let part = format!("PartOf={DATA_PLANE}\n");
    socket_unit(ADMIN, "bs9: the data plane's admin API", &part, &lines, place)
}

fn manager_admin(place: &Place, admin: &Admin, socket: &str) -> Unit {
    let mut lines = admin_lines(admin, socket);
    lines.set("SocketMode", if admin.peers.is_empty() { "0600" } else { "0666" });
    lines.set("Service", MANAGER);
    let part = format!("PartOf={MANAGER}\n");
    socket_unit(MANAGER_ADMIN, "bs9: the manager's admin API", &part, &lines, place)
}

fn admin_lines(admin: &Admin, socket: &str) -> Lines {
    let mut lines = Lines::default();
    lines.set("ListenStream", socket);
    if let Some(listen) = admin.listen.filter(|listen: &SocketAddr| listen.port() != 0) {
        lines.set("ListenStream", listen);
    }
    lines.set("DirectoryMode", "0755");
    lines.set("RemoveOnStop", "yes");
    lines
}

fn socket_unit(name: &'static str, about: &str, more: &str, lines: &Lines, place: &Place) -> Unit {
    let text = format!(
        "{}[Unit]\nDescription={about}\nDocumentation=man:bs9-install(1)\n{more}\n[Socket]\n{}\n\
         [Install]\nWantedBy=sockets.target\n",
        beginning(name, place),
        lines.text()
    );
    Unit { name, text }
}

// === services ===

fn data_plane(place: &Place, settings: &Settings, program: &Path, fed: bool) -> Unit {
    let mut lines = Lines::default();
    let seen = [program, settings.path.as_path()];
    let program = word(&literal(program));
    let socket = settings.admin_socket(place);
    lines.set("Type", "notify");
    let config = word(&literal(&settings.path));
    lines.set("ExecStart", format_args!("{program} serve --config {config}"));
    lines.comment("Unlike a signal it waits, and says what is wrong with the files.");
    let reload = format!("{program} loadbalancer reload --socket {}", word(&socket));
    lines.set("ExecReload", reload);
    lines.set("Sockets", if fed { format!("{LISTENERS} {ADMIN}") } else { ADMIN.to_owned() });
    keep_alive(&mut lines);
    let drain = settings.config.runtime.drain_timeout.as_secs() + STOP_MARGIN_SECONDS;
    lines.comment("Longer than runtime.drain_timeout.");
    lines.set("TimeoutStopSec", format_args!("{drain}s"));
    lines.set("LimitNOFILE", 1_048_576);
    lines.blank();
    if place.scope == Scope::System {
        lines.set("User", ACCOUNT);
        lines.set("Group", ACCOUNT);
        lines.comment("/var/log/bs9, for access logs.");
        lines.set("LogsDirectory", "bs9");
        lines.comment("For addresses that a reload brings; those of now are systemd's.");
        lines.set("AmbientCapabilities", "CAP_NET_BIND_SERVICE");
        lines.set("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE");
    } else {
        lines.set("CapabilityBoundingSet", "");
    }
    lines.set("SystemCallFilter", "@system-service");
    lines.set("SystemCallFilter", "~@privileged");
    lines.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6");
    lines.set("ProcSubset", "pid");
    lines.set("ProtectProc", "invisible");
    lines.set("ProtectHome", if place.scope == Scope::System { "yes" } else { "read-only" });
    protect_kernel_files(&mut lines);
    harden(&mut lines, place, seen);
    lines.comment("What `--persist` writes, and access logs.");
    let writable = std::iter::once(settings.folder()).chain(settings.log_folders());
    for folder in writable {
        lines.set("ReadWritePaths", word(&format!("-{}", literal(folder))));
    }
    service_unit(DATA_PLANE, "bs9 data plane", "bs9-serve", &lines, place)
}

fn manager(place: &Place, settings: &Settings, program: &Path) -> Unit {
    let mut lines = Lines::default();
    let seen = [program, settings.manager_path.as_path()];
    let (program, config) = (word(&literal(program)), word(&literal(&settings.manager_path)));
    lines.set("Type", "notify");
    lines.set("ExecStart", format_args!("{program} manager --config {config}"));
    lines.set("Sockets", MANAGER_ADMIN);
    keep_alive(&mut lines);
    lines.set("TimeoutStopSec", "20s");
    lines.blank();
    // It writes units and asks systemd, as root does, with none of root's powers.
    lines.set("CapabilityBoundingSet", "");
    lines.set("SystemCallFilter", "@system-service");
    lines.set("SystemCallFilter", "~@privileged @resources");
    lines.comment(
        "By netlink the kernel tells who is at the other end of a Unix socket (`bs9 deps`).",
    );
    lines.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK");
    lines.set("ProtectHome", "read-only");
    match place.scope {
        // A user namespace may not protect parts of a /proc that is all there; a user can do
        // nothing to them in any case, and sees its own processes.
        Scope::User => lines.set("ProtectProc", "invisible"),
        Scope::System => protect_kernel_files(&mut lines),
    }
    harden(&mut lines, place, seen);
    if place.scope == Scope::System {
        lines.set("StateDirectory", "bs9");
        lines.set("StateDirectoryMode", "0700");
    }
    lines.comment("Services' descriptions, their units, and what is kept.");
    for folder in manager_folders(place, settings) {
        lines.set("ReadWritePaths", word(&format!("-{folder}")));
    }
    service_unit(MANAGER, "bs9 manager", "bs9-manager", &lines, place)
}

/// What the manager writes.
pub(super) fn manager_folders(place: &Place, settings: &Settings) -> Vec<String> {
    let runtime = match place.scope {
        Scope::User => "%t/systemd",
        Scope::System => "/run/systemd/system",
    };
    vec![
        literal(&settings.services_folder(place)),
        literal(&settings.state_folder(place)),
        literal(place.units()),
        runtime.to_owned(),
    ]
}

fn keep_alive(lines: &mut Lines) {
    lines.set("Restart", "on-failure");
    lines.comment("Too slow for systemd's limit of starts: it is never given up.");
    lines.set("RestartSec", "3s");
    lines.comment("Fires when a loop, or a shard's, does not turn any more.");
    lines.set("WatchdogSec", WATCHDOG);
}

/// The kernel's own files in /proc and /sys.
fn protect_kernel_files(lines: &mut Lines) {
    lines.set("ProtectKernelLogs", "yes");
    lines.set("ProtectKernelTunables", "yes");
}

/// What both are kept from; not from what they have to see.
fn harden(lines: &mut Lines, place: &Place, seen: [&Path; 2]) {
    for name in [
        "NoNewPrivileges",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "PrivateDevices",
        "PrivateMounts",
        "ProtectClock",
        "ProtectControlGroups",
        "ProtectHostname",
        "ProtectKernelModules",
        "RemoveIPC",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
    ] {
        lines.set(name, "yes");
    }
    if seen.iter().any(|path| TEMPORARY.iter().any(|folder| path.starts_with(folder))) {
        lines.comment("PrivateTmp would hide its own files from it.");
    } else {
        lines.set("PrivateTmp", "yes");
    }
    if place.scope == Scope::User {
        // systemd before 254 needs it for what is said of the file system to take effect.
        lines.set("PrivateUsers", "yes");
    }
    lines.set("KeyringMode", "private");
    lines.set("ProtectSystem", "strict");
    lines.set("SystemCallArchitectures", "native");
    lines.set("SystemCallErrorNumber", "EPERM");
    lines.set("UMask", "0077");
}

fn service_unit(name: &'static str, about: &str, page: &str, lines: &Lines, place: &Place) -> Unit {
    let (network, target) = match place.scope {
        Scope::System => {
            ("Wants=network-online.target\nAfter=network-online.target\n", "multi-user.target")
        }
        Scope::User => ("", "default.target"),
    };
    let text = format!(
        "{}[Unit]\nDescription={about}\nDocumentation=man:{page}(1)\n{network}\n[Service]\n{}\n\
         [Install]\nWantedBy={target}\n",
        beginning(name, place),
        lines.text()
    );
    Unit { name, text }
}

fn beginning(name: &str, place: &Place) -> String {
    let user = if place.scope == Scope::User { "--user " } else { "" };
    format!(
        "# Written by `bs9 install`, which replaces it. Changes of your own:\n\
         # systemctl {user}edit {name}\n"
    )
}

/// Lines of a section.
#[derive(Debug, Default)]
struct Lines(Vec<String>);

impl Lines {
    fn set(&mut self, name: &str, value: impl Display) {
        self.0.push(format!("{name}={value}"));
    }

    fn comment(&mut self, text: &str) {
        self.0.push(format!("# {text}"));
    }

    fn blank(&mut self) {
        self.0.push(String::new());
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, line| {
            let _infallible = writeln!(text, "{line}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(toml: &str) -> Settings {
        let config = bs9_config::parse_str("/etc/bs9/bs9.toml", toml)
            .unwrap_or_else(|report| panic!("{report}"));
        let manager = bs9_config::parse_manager_str("/etc/bs9/manager.toml", "").unwrap();
        Settings {
            path: "/etc/bs9/bs9.toml".into(),
            config,
            manager_path: "/etc/bs9/manager.toml".into(),
            manager,
            beginnings: Vec::new(),
        }
    }

    fn text(toml: &str, name: &str) -> Option<String> {
        let place = Place::new(Scope::System, None).unwrap();
        let units = all(&place, &settings(toml), Path::new("/usr/local/bin/bs9"));
        units.into_iter().find(|unit| unit.name == name).map(|unit| unit.text)
    }

    #[test]
    fn each_address_is_listened_on_as_its_protocol_wants() {
        let toml = "[runtime]\nshards = 3\n\
            [listeners.a]\nbind = [\"0.0.0.0:80\", \"unix:/run/a/x y\", \"127.0.0.1:0\"]\nprotocol = \"http\"\n\
            [[listeners.a.routes]]\nrespond = {}\n\
            [listeners.b]\nbind = [\"[::]:53\"]\nprotocol = \"udp\"\ncluster = \"c\"\n\
            [clusters.c]\nendpoints = []\n";
        let text = text(toml, LISTENERS).unwrap();
        assert_eq!(text.matches("ListenStream=0.0.0.0:80\n").count(), 3, "{text}");
        assert_eq!(text.matches("ListenDatagram=[::]:53\n").count(), 3, "{text}");
        assert_eq!(text.matches("ListenStream=/run/a/x y\n").count(), 1, "{text}");
        assert!(!text.contains("127.0.0.1"), "{text}");
    }

    #[test]
    fn what_a_service_needs_is_not_hidden_from_it() {
        let place = Place::new(Scope::System, None).unwrap();
        for (program, private) in
            [("/usr/local/bin/bs9", true), ("/tmp/bs9", false), ("/tmpfiles/bs9", true)]
        {
            let units = all(&place, &settings(""), Path::new(program));
            let services = units.iter().filter(|unit| [DATA_PLANE, MANAGER].contains(&unit.name));
            assert!(
                services.clone().all(|unit| unit.text.contains("PrivateTmp=yes\n") == private),
                "{program}"
            );
            assert_eq!(services.count(), 2);
        }
    }

    #[test]
    fn without_listeners_there_is_nothing_to_listen_on() {
        assert!(text("", LISTENERS).is_none());
        let unit = text("", DATA_PLANE).unwrap();
        assert!(unit.contains("Sockets=bs9-admin.socket\n"), "{unit}");
    }

    #[test]
    fn a_stop_outlasts_a_drain() {
        let unit = text("[runtime]\ndrain_timeout = \"2m\"\n", DATA_PLANE).unwrap();
        assert!(unit.contains("TimeoutStopSec=135s\n"), "{unit}");
    }

    #[test]
    fn words_keep_together() {
        assert_eq!(word("/a/b-%t"), "/a/b-%t");
        assert_eq!(word("/a b/\"$"), "\"/a b/\\\"$$\"");
    }
}
