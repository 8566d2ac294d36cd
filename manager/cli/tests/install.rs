//! `bs9 install` and `bs9 uninstall` on a real systemd, and into a tree of files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use fixture::{
    Outcome, eventually, program,
    sandbox::{INSTALLED as UNITS, Sandbox},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bs9");

/// Asks again and again, each time over a new connection, until it is told to stop; then
/// says how often, and what went wrong.
const CLIENT: &str = r#"
import pathlib, socket, sys

done, failed, stop = 0, [], pathlib.Path("stop")
while not stop.exists():
    try:
        with socket.create_connection(("127.0.0.1", 8000), timeout=60) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := stream.recv(4096):
                answer += part
        if b" 200 " not in answer.split(b"\r\n")[0]:
            failed.append(answer.decode())
    except OSError as error:
        failed.append(str(error))
    done += 1
    pathlib.Path("done").write_text(str(done))
print(done, failed)
sys.exit(bool(failed))
"#;

/// A data plane that answers `said` at a port.
fn configuration(port: u16, said: &str) -> String {
    format!(
        "[runtime]\nshards = 2\nwatch = false\n\
         [listeners.web]\nbind = [\"127.0.0.1:{port}\"]\nprotocol = \"http\"\n\
         [[listeners.web.routes]]\nrespond = {{ body = \"{said}\" }}\n"
    )
}

/// Every file and folder below `folder`; what a file holds.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(here) = left.pop() {
        for entry in fs::read_dir(here).unwrap().flatten() {
            let path = entry.path();
            let link = path.is_symlink();
            if path.is_dir() && !link {
                left.push(path.clone());
                found.insert(path, None);
            } else {
                let content = if link { Vec::new() } else { fs::read(&path).unwrap() };
                found.insert(path, Some(content));
            }
        }
    }
    found
}

fn names(tree: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> Vec<&Path> {
    tree.keys().map(PathBuf::as_path).collect()
}

fn steps(outcome: Outcome, action: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&outcome.ok()).unwrap();
    let steps = report["steps"].as_array().unwrap().iter();
    let wanted = steps.filter(|step| step["action"] == action);
    wanted.map(|step| step["what"].as_str().unwrap().to_owned()).collect()
}

fn install(sandbox: &Sandbox, more: &[&str]) -> Outcome {
    sandbox.bs9(&[&["install", "--json", "--program", PROGRAM], more].concat())
}

#[test]
fn it_is_installed_restarted_without_a_refused_connection_and_removed() {
    let sandbox = Sandbox::start();
    let config = sandbox.home().join(".config/bs9/bs9.toml");
    sandbox.write(".config/bs9/bs9.toml", &configuration(8000, "one"));
    let before = tree(&sandbox.home());

    let planned = steps(install(&sandbox, &["--dry-run"]), "create");
    assert!(planned.iter().any(|path| path.ends_with("systemd/user/bs9.service")), "{planned:#?}");
    assert_eq!(names(&tree(&sandbox.home())), names(&before), "a dry run writes nothing");

    let made = steps(install(&sandbox, &[]), "create");
    for path in &planned {
        assert!(made.contains(path), "{path} was announced: {made:#?}");
    }
    assert_eq!(sandbox.get(8000, "/").unwrap(), "one");
    for unit in UNITS {
        assert_eq!(sandbox.property(unit, "ActiveState"), "active", "{unit}");
    }
    assert_eq!(sandbox.property("bs9.service", "Type"), "notify");
    let status = sandbox.bs9(&["status", "--json"]).json();
    assert_eq!(status["manager"]["version"], env!("CARGO_PKG_VERSION"), "{status:#}");

    // What it is kept from, by systemd's own judgement of what is loaded: tenths of a point, of
    // which two are PrivateTmp's, which would hide a home in /tmp from it.
    let in_tmp = ["/tmp", "/var/tmp"].iter().any(|folder| sandbox.home().starts_with(folder));
    let threshold = format!("--threshold={}", if in_tmp { 22 } else { 20 });
    for unit in ["bs9.service", "bs9-manager.service"] {
        let judge = ["--user", "--no-pager", "security", &threshold, unit];
        sandbox.run("systemd-analyze", &judge).ok();
    }

    reload(&sandbox, &config);
    restart_under_load(&sandbox);

    // Again: nothing to do.
    let again = install(&sandbox, &[]).json();
    assert_eq!(again["changed"], false, "{again:#}");

    // Another address is systemd's business too.
    fs::write(&config, configuration(8001, "moved")).unwrap();
    let replaced = steps(install(&sandbox, &[]), "replace");
    assert!(replaced[0].ends_with("bs9.socket"), "{replaced:#?}");
    assert_eq!(sandbox.get(8001, "/").unwrap(), "moved");
    assert_eq!(sandbox.get(8000, "/"), None);

    let kept = steps(sandbox.bs9(&["uninstall", "--json", "--dry-run"]), "keep");
    assert_eq!(kept, ["/home/ann/.config/bs9", "/home/ann/.local/state/bs9"]);
    assert_eq!(sandbox.get(8001, "/").unwrap(), "moved", "a dry run stops nothing");
    sandbox.bs9(&["uninstall"]).ok();
    assert_eq!(sandbox.get(8001, "/"), None);
    for unit in UNITS {
        assert_eq!(sandbox.property(unit, "LoadState"), "not-found", "{unit}");
    }
    sandbox.bs9(&["uninstall"]).fails(3);

    // What is left is what people and the manager wrote.
    let after = tree(&sandbox.home());
    let own = [".config/bs9", ".local/state/bs9", ".local/state", ".local"];
    let own = own.map(|path| sandbox.home().join(path));
    for path in names(&after) {
        let known = before.contains_key(path) || own.iter().any(|own| path == own);
        let inside = path.starts_with(&own[0]) || path.starts_with(&own[1]);
        assert!(known || inside, "{} was left behind", path.display());
    }
    assert_eq!(fs::read_to_string(&config).unwrap(), configuration(8001, "moved"));
}

fn reload(sandbox: &Sandbox, config: &Path) {
    let reload = || sandbox.run("systemctl", &["--user", "reload", "bs9.service"]);
    fs::write(config, configuration(8000, "two")).unwrap();
    reload().ok();
    assert_eq!(sandbox.get(8000, "/").unwrap(), "two");
    fs::write(config, "[listeners]\nweb = 1\n").unwrap();
    assert_ne!(reload().code, Some(0), "systemctl tells that it was refused");
    assert_eq!(sandbox.get(8000, "/").unwrap(), "two");
    fs::write(config, configuration(8000, "three")).unwrap();
    reload().ok();
}

fn restart_under_load(sandbox: &Sandbox) {
    sandbox.write("client.py", CLIENT);
    let client = sandbox
        .command("python3")
        .arg("client.py")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let done = || -> u64 {
        let text = fs::read_to_string(sandbox.home().join("done")).unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    let progress = |from: u64| eventually("requests", || (done() > from + 20).then_some(()));
    progress(0);
    let pid = sandbox.property("bs9.service", "MainPID");
    for _ in 0..3 {
        sandbox.run("systemctl", &["--user", "restart", "bs9.service"]).ok();
        progress(done());
    }
    assert_ne!(sandbox.property("bs9.service", "MainPID"), pid);
    sandbox.write("stop", "");
    let outcome = Outcome::of(client.wait_with_output().unwrap());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    for file in ["client.py", "stop", "done"] {
        fs::remove_file(sandbox.home().join(file)).unwrap();
    }
}

#[test]
fn without_a_configuration_there_is_one_to_begin_with() {
    let sandbox = Sandbox::start();
    let before = tree(&sandbox.home());
    install(&sandbox, &[]).ok();
    assert_eq!(sandbox.get(8080, "/").unwrap(), "bs9 works\n");
    let unit = sandbox.home().join(".config/systemd/user/bs9.service");
    let own = fs::read_to_string(&unit).unwrap() + "# mine\n";
    fs::write(&unit, &own).unwrap();

    let report = sandbox.bs9(&["uninstall", "--purge", "--json"]).json();
    let left: Vec<_> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["action"] == "keep")
        .map(|step| step["what"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["/home/ann/.config/systemd/user/bs9.service"], "what was changed stays");
    assert_eq!(fs::read_to_string(&unit).unwrap(), own);
    assert_eq!(sandbox.get(8080, "/"), None);
    fs::remove_file(&unit).unwrap();
    for folder in [".config/systemd/user", ".config/systemd", ".config"] {
        // These were made for it, and kept for the file that stayed.
        let _not_there_or_not_empty = fs::remove_dir(sandbox.home().join(folder));
    }
    assert_eq!(names(&tree(&sandbox.home())), names(&before));
}

#[test]
fn a_process_that_hangs_is_replaced() {
    let sandbox = Sandbox::start();
    sandbox.write(".config/bs9/bs9.toml", &configuration(8000, "one"));
    for unit in ["bs9", "bs9-manager"] {
        let file = format!(".config/systemd/user/{unit}.service.d/quick.conf");
        sandbox.write(&file, "[Service]\nWatchdogSec=2s\nTimeoutStopSec=5s\nTimeoutAbortSec=5s\n");
    }
    install(&sandbox, &[]).ok();
    for unit in ["bs9.service", "bs9-manager.service"] {
        let heard = || sandbox.property(unit, "WatchdogTimestampMonotonic");
        for _ in 0..3 {
            let last = heard();
            eventually("it shows that it lives", || (heard() != last).then_some(()));
        }
        assert_eq!(sandbox.property(unit, "NRestarts"), "0", "{unit}");
        let pid = sandbox.property(unit, "MainPID");
        sandbox.run("sh", &["-c", &format!("kill -STOP {pid}")]).ok();
        eventually("another one is there", || {
            let active = sandbox.property(unit, "ActiveState") == "active";
            (active && sandbox.property(unit, "MainPID") != pid).then_some(())
        });
    }
    assert_eq!(sandbox.get(8000, "/").unwrap(), "one");
    sandbox.bs9(&["status"]).ok();
}

#[test]
fn what_somebody_else_put_there_is_not_replaced() {
    let sandbox = Sandbox::start();
    sandbox.write(".config/systemd/user/bs9.service", "[Service]\nExecStart=/bin/true\n");
    let before = tree(&sandbox.home());
    let said = install(&sandbox, &[]).fails(1);
    assert!(said.contains("bs9.service is there, and not from"), "{said}");
    assert_eq!(names(&tree(&sandbox.home())), names(&before));

    sandbox.write(".config/bs9/bs9.toml", "[listeners]\nweb = 1\n");
    let said = install(&sandbox, &[]).fails(5);
    assert!(said.contains("bs9.toml:2"), "{said}");
    install(&sandbox, &["--config", "/nowhere.toml"]).fails(3);
}

#[test]
fn a_tree_of_files_for_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let bs9 = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).args(["--system", "--root", root, "--json"]);
        Outcome::of(command.output().unwrap())
    };
    bs9(&["install"]).ok();
    let at = |path: &str| folder.path().join(path);
    let installed = at("usr/local/bin/bs9");
    assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::metadata(&installed).unwrap().len(), fs::metadata(PROGRAM).unwrap().len());
    for file in [
        "etc/bs9/bs9.d/main.toml",
        "etc/bs9/manager.toml",
        "etc/sysusers.d/bs9.conf",
        "etc/tmpfiles.d/bs9.conf",
        "usr/local/share/man/man1/bs9-loadbalancer-add.1",
        "usr/local/share/bash-completion/completions/bs9",
        "usr/local/share/zsh/site-functions/_bs9",
        "usr/local/share/fish/vendor_completions.d/bs9.fish",
        "etc/systemd/system/sockets.target.wants/bs9.socket",
        "etc/systemd/system/multi-user.target.wants/bs9.service",
    ] {
        assert!(at(file).symlink_metadata().is_ok(), "{file}");
    }
    for unit in ["bs9.service", "bs9-manager.service"] {
        let path = at(&format!("etc/systemd/system/{unit}"));
        let judge = ["security", "--no-pager", "--offline=yes", "--threshold=20"];
        let mut command = Command::new("systemd-analyze");
        Outcome::of(command.args(judge).arg(path).output().unwrap()).ok();
    }
    // Told once more, everything is as it should be.
    assert_eq!(bs9(&["install"]).json()["changed"], false);
    bs9(&["uninstall", "--purge"]).ok();
    let left = tree(folder.path());
    assert!(left.is_empty(), "{:#?}", names(&left));
}

#[test]
fn without_systemd_it_says_so_and_writes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program();
    command.arg("install").env("HOME", home.path()).env("XDG_RUNTIME_DIR", home.path());
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"] {
        command.env_remove(name);
    }
    let said = Outcome::of(command.output().unwrap()).fails(7);
    assert!(said.contains("systemd") && said.contains("bs9 serve"), "{said}");
    assert!(tree(home.path()).is_empty());
}

const TYPED: &str = "declare function require(name: string): any;\n\
    declare const process: { env: Record<string, string> };\n\
    const said: string = 'typed';\n\
    require('http').createServer((_: unknown, answer: any) => answer.end(said))\n  \
    .listen(Number(process.env.PORT), '127.0.0.1');\n";

#[test]
fn an_installed_manager_has_compilers_run_outside_of_its_confinement() {
    let sandbox = Sandbox::start();
    sandbox.write(".config/bs9/bs9.toml", &configuration(8000, "one"));
    install(&sandbox, &[]).ok();
    assert_eq!(sandbox.property("bs9-manager.service", "MemoryDenyWriteExecute"), "yes");
    sandbox.write("app/server.ts", TYPED);
    for (compiler, port) in [("tsc", 3000), ("esbuild", 3100)] {
        let (build, port_said) = (format!("--build={compiler}"), port.to_string());
        let start = ["start", "app/server.ts", "-n", compiler, "-p", &port_said, &build];
        let said = sandbox.bs9(&[&start[..], &["--interpreter", "node"]].concat()).ok();
        assert!(said.contains(&format!("built by {compiler}")), "{said}");
        assert_eq!(sandbox.get(port, "/").unwrap(), "typed");
        assert!(sandbox.service(compiler)["build"]["version"].is_string());
        sandbox.write("app/server.ts", "const x: = ;\n");
        let refused = sandbox.bs9(&["reload", compiler]).fails(1);
        assert!(refused.contains("does not compile") && refused.contains("server.ts"), "{refused}");
        sandbox.write("app/server.ts", TYPED);
    }
}
