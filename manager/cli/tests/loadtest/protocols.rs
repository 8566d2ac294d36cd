//! Messages, payloads and transactions through the real binary.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use crate::{
    blocks,
    fixture::{bs9, run, write},
    shipped::Sample,
};

/// Serves each connection with `serve`; ends with the test.
fn listen(serve: fn(TcpStream) -> Option<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn echo(mut stream: TcpStream) -> Option<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        stream.write_all(&buffer[..count]).ok()?;
    }
}

/// What proves that a server has read the handshake (RFC 6455 section 4.2.2).
fn proof(key: &str) -> String {
    let script = "import base64, hashlib, sys; text = sys.argv[1] + sys.argv[2]; \
                  print(base64.b64encode(hashlib.sha1(text.encode()).digest()).decode())";
    let proof = run("python3", &["-c", script, key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"]).ok();
    proof.trim().to_owned()
}

/// Echoes messages of 126 to 65535 bytes, to who has the cookie.
fn chat(mut stream: TcpStream) -> Option<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(char::from(byte[0]));
    }
    if !head.starts_with("GET /chat HTTP/1.1\r\n") || !head.contains("\r\nCookie: id=1\r\n") {
        return stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").ok();
    }
    let proof = proof(head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {proof}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()?;
    loop {
        // A binary message, whole, with its length in two bytes, masked.
        let mut head = [0; 8];
        stream.read_exact(&mut head).ok()?;
        let [0x82, 0xfe, high, low, mask @ ..] = head else { return None };
        let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        stream.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        stream.write_all(&[&[0x82, 126, high, low], &payload[..]].concat()).ok()?;
    }
}

#[test]
fn payloads_come_back_over_tcp() {
    let url = format!("tcp://{}", listen(echo));
    let flags = ["loadtest", &url, "-c", "2", "-n", "20", "--payload-size", "4KiB"];
    let report = bs9(flags.into_iter().chain(["--json", "--threshold", "errors == 0"])).json();
    assert_eq!(report["protocol"], "tcp");
    assert_eq!((&report["requests"]["succeeded"], &report["passed"]), (&20.into(), &true.into()));
    assert_eq!(report["bytes"]["sent_bytes"], 20 * 4096);
    assert_eq!(report["bytes"]["received_bytes"], 20 * 4096);
    let text = bs9(flags).ok();
    assert!(text.contains("tcp, closed loop") && text.contains("20 ok, 0 failed"), "{text}");
}

#[test]
fn messages_come_back_over_a_websocket() {
    let url = format!("ws://{}/chat", listen(chat));
    let flags = ["loadtest", &url, "-c", "2", "-n", "20", "--payload-size", "4KiB"];
    let report = bs9(flags.into_iter().chain(["-H", "Cookie: id=1", "--json"]));
    assert_eq!(report.code, Some(0), "{report:#?}");
    let report = report.json();
    assert_eq!(report["protocol"], "websocket");
    assert_eq!(report["requests"]["succeeded"], 20, "{report:#}");
    assert!(report["bytes"]["received_bytes"].as_u64() >= Some(20 * 4096), "{report:#}");
    // Who has no cookie is not let in, and so nothing is measured.
    let said = bs9(flags).fails(6);
    assert!(said.contains("403"), "{said}");
}

#[test]
fn the_script_of_the_document_moves_money_through_the_pool() {
    let sample = Sample::start();
    let folder = tempfile::tempdir().unwrap();
    let scripts = blocks("sql");
    assert_eq!(scripts.len(), 1);
    write(&folder.path().join("transfer.sql"), &scripts[0]);
    let psql = |sql: &str| {
        let url = sample.placed("postgres://app@127.0.0.1:6432/app");
        sample
            .shell(&format!("psql -XqAt -v ON_ERROR_STOP=1 {url} -c \"{sql}\""), folder.path())
            .ok()
    };
    psql("CREATE UNLOGGED TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)");
    psql("INSERT INTO accounts SELECT id, 0 FROM generate_series(1, 1000000) AS id");

    let all = blocks("text").into_iter().chain(blocks("sh"));
    let lines: Vec<_> = all
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains("--script "))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = lines[0].replacen("bs9", env!("CARGO_BIN_EXE_bs9"), 1);
    // The document's database is a shop's; quickstart's is called after its user.
    let line = sample.placed(&line).replace("/shop ", "/app ") + " -n 300 --json";
    let outcome = sample.shell(&line, folder.path());
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let report = outcome.json();
    assert_eq!(report["protocol"], "postgresql");
    let requests = &report["requests"];
    assert_eq!((&requests["succeeded"], &requests["failed"]), (&300.into(), &0.into()));
    // BEGIN, UPDATE, SELECT, END.
    assert_eq!(requests["statements"], 4 * 300, "{report:#}");
    // Few accounts are met twice, and few amounts are nothing.
    let touched: u64 =
        psql("SELECT count(*) FROM accounts WHERE balance <> 0").trim().parse().unwrap();
    assert!((280..=300).contains(&touched), "{touched}");

    // What the script lacks is said before anything is sent.
    let undefined = line.replace(" -D scale=10", "");
    let said = sample.shell(&undefined, folder.path()).fails(2);
    assert!(said.contains("transfer.sql") && said.contains("scale"), "{said}");
    fs::remove_file(folder.path().join("transfer.sql")).unwrap();
    sample.shell(&line, folder.path()).fails(3);
}
