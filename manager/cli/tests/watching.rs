//! Source that is watched and compiled: changes are brought in by themselves, on a real
//! systemd.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{fs, os::unix::fs::MetadataExt as _};

use fixture::{
    eventually,
    http_app::http_app,
    sandbox::{DATA_PLANE, Sandbox},
};

/// Answers with its version; with `WRITES` it writes into its own folder whenever it starts.
fn version(version: &str) -> String {
    let begin = r#"
import time

if "WRITES" in os.environ:
    with open("state.txt", "w") as file:
        file.write(str(time.time()))
"#;
    http_app(begin, &format!(r#""{version} " + os.environ["INSTANCE"]"#))
}

#[test]
fn a_change_is_brought_in_and_what_is_no_change_is_not() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(DATA_PLANE);
    let manager = sandbox.manager();
    sandbox.write("app/server.py", &version("one"));
    sandbox
        .bs9(&[
            "start",
            "app/server.py",
            "-n",
            "web",
            "-p",
            "3000",
            "-i",
            "2",
            "--health",
            "/",
            "--route",
            "/",
            "--watch",
            "--ignore",
            "*.md",
        ])
        .ok();
    let first = sandbox.property("web@1.service", "MainPID");
    assert_eq!(sandbox.service("web")["watch"]["paths"][0], "/home/ann/app");

    // Ignored, and the same as before; then a real change, behind which both would show.
    sandbox.write("app/README.md", "read me");
    sandbox.write("app/.git/HEAD", "x");
    sandbox.write("app/server.py", &version("one"));
    sandbox.write("app/server.py", &version("two"));
    for wanted in ["two 1", "two 2"] {
        eventually("both instances are new", || (sandbox.get(8000, "/")? == wanted).then_some(()));
    }
    let watch = eventually("the reload is told", || {
        let watch = sandbox.service("web")["watch"].clone();
        (watch["reloads_total"] == 1).then_some(watch)
    });
    assert_eq!(watch["last_change"], "/home/ann/app/server.py", "{watch:#}");
    assert_eq!(watch["last_error"], serde_json::Value::Null, "{watch:#}");
    assert_ne!(sandbox.property("web@1.service", "MainPID"), first);
    // It rolled: somebody stood in.
    assert!(manager.log().contains("web@3.service stands in"), "{}", manager.log());

    // One that does not start changes nothing, and why is told; the next one mends it.
    sandbox.write("app/server.py", "raise SystemExit('broken')\n");
    let error = eventually("the failure is told", || {
        let watch = sandbox.service("web")["watch"].clone();
        watch["last_error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("goes on serving"), "{error}");
    assert!(sandbox.get(8000, "/").unwrap().starts_with("two"));
    sandbox.write("app/server.py", &version("three"));
    eventually("it is mended", || sandbox.get(8000, "/")?.starts_with("three").then_some(()));

    // What changes while the manager is dead is brought in when it is back.
    eventually("the change is done", || {
        (sandbox.service("web")["watch"]["last_error"].is_null()).then_some(())
    });
    drop(manager);
    sandbox.write("app/server.py", &version("four"));
    assert!(sandbox.get(8000, "/").unwrap().starts_with("three"));
    let _manager = sandbox.manager();
    eventually("it is brought in", || sandbox.get(8000, "/")?.starts_with("four").then_some(()));

    // A service that is stopped is not started by a change.
    eventually("the change is done", || {
        (sandbox.service("web")["watch"]["reloads_total"] == 1).then_some(())
    });
    sandbox.bs9(&["stop", "web"]).ok();
    sandbox.write("app/server.py", &version("five"));
    sandbox.bs9(&["start", "web"]).ok();
    assert!(sandbox.get(3000, "/").unwrap().starts_with("five"));
    assert_eq!(sandbox.service("web")["watch"]["reloads_total"], 1);
}

#[test]
fn a_service_that_writes_its_own_folder_is_not_reloaded_for_ever() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.py", &version("one"));
    sandbox
        .bs9(&[
            "start",
            "app/server.py",
            "-n",
            "web",
            "-p",
            "3000",
            "-e",
            "WRITES=1",
            "--relax",
            "working-folder",
            "--watch",
        ])
        .ok();
    let watch = eventually("the file is left out", || {
        let watch = sandbox.service("web")["watch"].clone();
        (watch["left_out"][0] == "/home/ann/app/state.txt").then_some(watch)
    });
    let reloads = watch["reloads_total"].as_u64().unwrap();
    assert!((1..=4).contains(&reloads), "{watch:#}");
    // A person's change is brought in all the same.
    sandbox.write("app/server.py", &version("two"));
    eventually("it is brought in", || {
        sandbox.get(3000, "/").filter(|said| said.starts_with("two")).map(drop)
    });
}

const TYPED: &str = "declare function require(name: string): any;\n\
    declare const process: { env: Record<string, string> };\n\
    const version: string = 'one';\n\
    require('http').createServer((_: unknown, answer: any) => answer.end(version))\n  \
    .listen(Number(process.env.PORT), '127.0.0.1');\n";

#[test]
fn typescript_is_compiled_and_what_ran_stays_until_the_new_one_runs() {
    let sandbox = Sandbox::start();
    let _manager = sandbox.manager();
    sandbox.write("app/server.ts", TYPED);
    for (compiler, port) in [("esbuild", "3000"), ("tsc", "3100")] {
        let build = format!("--build={compiler}");
        let start =
            ["start", "app/server.ts", "-n", compiler, "-p", port, &build, "--interpreter", "node"];
        let said = sandbox.bs9(&start).ok();
        assert!(said.contains(&format!("built by {compiler}")), "{said}");
        let number: u16 = port.parse().unwrap();
        assert_eq!(sandbox.get(number, "/").unwrap(), "one");
        let build = sandbox.service(compiler)["build"].clone();
        assert_eq!((&build["number"], &build["compiler"]), (&1.into(), &compiler.into()));
        // Nothing is put beside the source.
        let beside: Vec<_> = fs::read_dir(sandbox.home().join("app")).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");

        // What does not compile changes nothing.
        sandbox.write("app/server.ts", "const x: = ;\n");
        let refused = sandbox.bs9(&["reload", compiler]).fails(1);
        assert!(refused.contains("does not compile") && refused.contains("server.ts"), "{refused}");
        assert_eq!(sandbox.get(number, "/").unwrap(), "one");
        // What compiles and never runs neither, and the build before is still there.
        sandbox.write("app/server.ts", "throw new Error('no')\n");
        sandbox.bs9(&["reload", compiler]).fails(1);
        // Nobody leads traffic around it, so it was down for a moment.
        let back = eventually("what ran before is back", || sandbox.get(number, "/"));
        assert_eq!(back, "one");
        assert_eq!(sandbox.service(compiler)["build"]["number"], 1);
        assert_eq!(sandbox.service(compiler)["drifted"], false);

        sandbox.write("app/server.ts", &TYPED.replace("'one'", "'two'"));
        sandbox.bs9(&["reload", compiler]).ok();
        assert_eq!(sandbox.get(number, "/").unwrap(), "two");
        sandbox.write("app/server.ts", TYPED);
    }
    let builds = sandbox.home().join(".local/state/bs9/services/builds");
    assert_eq!(fs::metadata(&builds).unwrap().mode() & 0o002, 0);
    sandbox.bs9(&["delete", "tsc"]).ok();
    assert!(!builds.join("tsc").exists() && builds.join("esbuild").exists());

    let refused = sandbox.bs9(&["start", "app/server.ts", "-n", "none", "--build=bun"]).fails(2);
    assert!(refused.contains("bun is not there") && refused.contains("bun.sh"), "{refused}");
    sandbox.bs9(&["start", "app/server.ts", "-n", "none", "--build=gcc"]).fails(5);
}
