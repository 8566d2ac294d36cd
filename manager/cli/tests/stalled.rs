//! A shard that stands still: whoever looks is told, while it does and afterwards.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use fixture::{ADMIN, Running, eventually, get, program, write};

/// Lets whoever may ask do so (Yama allows it to parents alone), and becomes what it is given.
const ALLOW: &str = "\
import ctypes, os, sys
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
os.execv(sys.argv[1], sys.argv[1:])
";

/// Holds a thread with ptrace(2) until its standard input ends.
const HOLD: &str = "\
import ctypes, os, sys
SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
thread = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for request in SEIZE, INTERRUPT:
    if libc.ptrace(request, thread, None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print('held', flush=True)
sys.stdin.read()
";

/// A thread that is held; goes on when this is dropped.
struct Held(Child);

impl Held {
    fn thread(id: &str) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", HOLD, id]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(command.spawn().expect("python3 is installed"));
        let mut said = String::new();
        BufReader::new(holder.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "held\n");
        holder
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The kernel's number of a thread, by its name.
fn thread_of(pid: u32, name: &str) -> String {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(Result::unwrap);
    let mut named = threads
        .filter(|thread| fs::read_to_string(thread.path().join("comm")).unwrap().trim() == name);
    named.next().unwrap().file_name().into_string().unwrap()
}

#[test]
fn a_shard_that_stands_still_is_in_the_log_the_metrics_and_the_status() {
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bs9.toml");
    let listen = ADMIN.replace("[runtime]", &format!("listen = \"{admin}\"\n[runtime]"));
    let web = "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
               routes = [{ respond = { body = \"here\" } }]\n";
    write(&path, &format!("{listen}{web}"));
    let mut command = Command::new("python3");
    command.env_remove("BS9_LOG").env_remove("NOTIFY_SOCKET").args(["-c", ALLOW]);
    command.arg(program().get_program()).args(["serve", "--config"]).arg(&path);
    let socket = folder.path().join("dataplane.sock");
    let running = Running::start(command, &folder.path().join("log"), socket);
    let said = eventually("the data plane answers", || {
        let said = running.ask(&["status"]);
        (said.code == Some(0)).then_some(said.stdout)
    });
    assert!(!said.contains("still"), "{said}");
    let counted = |shard: usize| {
        let metrics = get(admin, "/metrics").body;
        ["bs9_shard_stalled", "bs9_shard_stalls_total"].map(|name| {
            let line = format!("{name}{{shard=\"{shard}\"}} ");
            let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
            value.unwrap_or_else(|| panic!("{line}: {metrics}")).to_owned()
        })
    };
    assert_eq!([counted(0), counted(1)], [["0", "0"], ["0", "0"]]);

    let held = Held::thread(&thread_of(running.pid(), "bs9-shard-1"));
    let said = eventually("the status says so", || {
        let said = running.ask(&["status"]).ok();
        said.contains("shard 1 stands still in ").then_some(said)
    });
    let stall = running.status()["shards"][1]["last_stall"].clone();
    let place = stall["place"].as_str().unwrap();
    let thread = stall["thread"].as_str().unwrap();
    assert!(thread.starts_with("stopped"), "{stall}");
    assert!(said.contains(&format!("in {place} ({thread}); its connections wait")), "{said}");
    assert_eq!([counted(0), counted(1)], [["0", "0"], ["1", "1"]]);
    let line_of = |message: &str| {
        let log = running.log();
        let line = log.lines().find(|line| line.contains(message));
        line.unwrap_or_else(|| panic!("{message}: {log}")).to_owned()
    };
    let line = line_of("a shard does not go on");
    assert!(line.contains("ERROR") && line.contains("shard=1"), "{line}");
    assert!(line.contains(place) && line.contains(thread), "{line}");

    drop(held);
    let said = eventually("the status says that it goes on", || {
        let said = running.ask(&["status"]).ok();
        (!said.contains("stands still")).then_some(said)
    });
    assert!(said.contains("shard 1 stood still 1 time, last for "), "{said}");
    assert!(said.contains(&format!("in {place} ({thread})")), "{said}");
    assert_eq!([counted(0), counted(1)], [["0", "0"], ["0", "1"]]);
    assert!(line_of("a shard goes on again").contains("shard=1"));
    assert_eq!(get(running.address("web"), "/").body, "here");
}
