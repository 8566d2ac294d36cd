//! A request in steady state allocates nothing, also when it is filled with values and its
//! response is looked into.
#![expect(unsafe_code, reason = "a global allocator that counts is an unsafe trait")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

use bs9_loadtest::{Scenario, run};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this is one of the test's own threads.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count() {
    // A thread that is ending has no flag any more.
    if !EXEMPT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, SeqCst);
    }
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers everything alike, on threads that do not count.
fn start_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    thread::spawn(move || {
        EXEMPT.set(true);
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                EXEMPT.set(true);
                let _the_client_left = serve(stream);
            });
        }
    });
    address
}

fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(text) = line.strip_prefix("Content-Length: ") {
                length = text.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        writer.write_all(b"HTTP/1.1 200 OK\r\nX-Id: 7\r\nContent-Length: 8\r\n\r\nid: 1234")?;
    }
}

/// Allocations of a run of so many requests, setting up included.
fn allocations(file: &Path, requests: u64) -> usize {
    let mut scenario = Scenario::read(file, None).unwrap();
    scenario.options.requests = Some(requests);
    let plan = scenario.plan().unwrap();
    let before = ALLOCATIONS.load(SeqCst);
    let report = run(&plan, &AtomicBool::new(false), |_| {}).unwrap();
    let allocations = ALLOCATIONS.load(SeqCst) - before;
    assert_eq!(report.requests.succeeded, requests, "{report}");
    allocations
}

#[test]
fn what_is_filled_and_checked_is_not_allocated() {
    EXEMPT.set(true);
    let address = start_server();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("users.csv"), "id,name\n1,ann\n2,bob b\n3,zoë\n").unwrap();
    let file = folder.path().join("scenario.toml");
    let text = format!(
        r#"
target = "http://{address}"
connections = 2
threads = 1
[data.users]
file = "users.csv"
order = "random"
[[requests]]
path = "/users/{{{{users.id}}}}?name={{{{users.name}}}}"
expect.headers = {{ X-Id = "7" }}
expect.body = {{ matches = '^id: \d+$', contains = "id" }}
[[requests]]
method = "POST"
path = "/x"
headers = {{ X-User = "{{{{users.name}}}}" }}
body = "{{{{users.id}}}}"
expect.body = {{ equals = "id: 1234" }}
"#
    );
    fs::write(&file, text).unwrap();
    // What is set up, once and for each second, is the same for both but for a few.
    let few = allocations(&file, 200);
    let many = allocations(&file, 2_200);
    let each = (many as f64 - few as f64) / 2_000.0;
    assert!(few > 0 && each < 0.02, "{each} allocations a request: {few}, then {many}");
}
