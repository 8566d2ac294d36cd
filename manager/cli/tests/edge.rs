//! The edge through the real binary: logs that are rotated, what is counted, datagrams.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{fs, net::UdpSocket, path::Path, process::Command, thread};

use fixture::{DataPlane, Running, eventually, get, origin::Origin, program};
use rustix::process::Signal;

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn wait_for(path: &Path, count: usize) -> Vec<String> {
    eventually("the lines are there", || Some(lines(path)).filter(|lines| lines.len() == count))
}

const WEB: &str = "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
    access_log = { output = \"file:access.log\", template = \"{path} {status}\" }\n\
    [[listeners.web.routes]]\ncluster = \"api\"\n";

#[test]
fn logs_are_opened_anew_on_sigusr1_and_are_whole_at_the_end() {
    let origin = Origin::start("one");
    let cluster = format!("[clusters.api]\nendpoints = [\"{}\"]\n", origin.address);
    let mut data_plane = DataPlane::serve(&format!("{WEB}{cluster}"));
    let web = data_plane.running.address("web");
    let folder = data_plane.path().parent().unwrap().to_owned();
    let (path, moved) = (folder.join("access.log"), folder.join("access.log.old"));
    assert_eq!(get(web, "/before").status, 200);
    assert_eq!(wait_for(&path, 1), ["/before 200"]);
    fs::rename(&path, &moved).unwrap();
    data_plane.running.signal(Signal::USR1);
    eventually("it is there again", || path.exists().then_some(()));
    for number in 0..50 {
        assert_eq!(get(web, &format!("/{number}")).status, 200);
    }
    data_plane.running.signal(Signal::TERM);
    assert!(data_plane.running.ended().success());
    // Nothing that was answered is missing, whatever was not written yet when the signal came.
    assert_eq!(lines(&path).len(), 50);
    assert_eq!(lines(&moved), ["/before 200"]);
}

#[test]
fn lines_go_to_standard_output_and_messages_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("bs9.toml"), folder.path().join("stdout"));
    let config = "[listeners.json]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\naccess_log = {}\n\
        routes = [{ respond = { body = \"one\" } }]\n\
        [listeners.combined]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\n\
        access_log = { format = \"combined\" }\nroutes = [{ respond = { body = \"two\" } }]\n";
    fixture::write(&path, &format!("{}{config}", fixture::ADMIN));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" serve --config \"$1\" >\"$2\""]);
    command.arg(program().get_program()).args([&path, &out]);
    let socket = folder.path().join("dataplane.sock");
    let mut running = Running::start(command, &folder.path().join("log"), socket);
    eventually("the data plane answers", || {
        (running.ask(&["status"]).code == Some(0)).then_some(())
    });
    for listener in ["json", "combined"] {
        assert_eq!(get(running.address(listener), "/there").status, 200);
    }
    running.signal(Signal::TERM);
    assert!(running.ended().success());
    let lines = lines(&out);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let [json, combined]: [Vec<&String>; 2] = [true, false]
        .map(|json| lines.iter().filter(|line| line.starts_with('{') == json).collect());
    let json: serde_json::Value = serde_json::from_str(json[0]).unwrap();
    assert_eq!((&json["listener"], &json["path"]), (&"json".into(), &"/there".into()), "{json}");
    let known = "] \"GET /there HTTP/1.1\" 200 ";
    assert!(combined[0].contains(known) && combined[0].ends_with(" \"-\" \"-\""), "{combined:?}");
    assert!(running.log().contains("INFO") && !running.log().contains("/there"));
}

#[test]
fn what_was_asked_is_counted_by_route_cluster_and_endpoint() {
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (echo_address, origin) = (echo.local_addr().unwrap(), Origin::start("one"));
    thread::spawn(move || {
        let mut room = [0; 100];
        let (count, client) = echo.recv_from(&mut room).unwrap();
        echo.send_to(&room[..count], client).unwrap();
    });
    let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rest = format!(
        "[clusters.api]\nendpoints = [\"{}\"]\n\
         [listeners.dns]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"udp\"\ncluster = \"echo\"\n\
         [clusters.echo]\nendpoints = [\"{echo_address}\"]\n\
         [listeners.closed]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"tcp\"\ncluster = \"api\"\n\
         deny = [\"127.0.0.0/8\"]\n",
        origin.address
    );
    let folder = tempfile::tempdir().unwrap();
    let own = format!("[admin]\nsocket = \"dataplane.sock\"\nlisten = \"{admin}\"\n");
    fixture::write(&folder.path().join("bs9.toml"), &format!("{own}{WEB}{rest}"));
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");
    assert_eq!(get(data_plane.running.address("web"), "/").status, 200);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"hello", data_plane.running.address("dns")).unwrap();
    client.set_read_timeout(Some(fixture::DEADLINE)).unwrap();
    assert_eq!(client.recv(&mut [0; 100]).unwrap(), 5);
    let _closed_at_once = fixture::try_get(data_plane.running.address("closed"), "/");
    let endpoint = origin.address;
    for line in [
        "bs9_route_responses_total{listener=\"web\",route=\"*\",class=\"2xx\"} 1".to_owned(),
        "bs9_route_request_seconds_bucket{listener=\"web\",route=\"*\",le=\"+Inf\"} 1".to_owned(),
        "bs9_route_request_seconds_count{listener=\"web\",route=\"*\"} 1".to_owned(),
        "bs9_cluster_response_seconds_count{cluster=\"api\"} 1".to_owned(),
        format!("bs9_endpoint_responses_total{{cluster=\"api\",endpoint=\"{endpoint}\"}} 1"),
        "bs9_udp_received_datagrams_total{listener=\"dns\"} 1".to_owned(),
        "bs9_udp_sent_datagrams_total{listener=\"dns\"} 1".to_owned(),
        "bs9_listener_denied_connections_total{listener=\"closed\"} 1".to_owned(),
    ] {
        eventually(&line, || {
            let metrics = get(admin, "/metrics");
            metrics.body.lines().any(|found| found == line).then_some(())
        });
    }
    let metrics = get(admin, "/metrics").body;
    assert!(metrics.contains("bs9_access_log_written_total{output=\""), "{metrics}");
    assert!(metrics.contains("# TYPE bs9_route_request_seconds histogram"), "{metrics}");
}
