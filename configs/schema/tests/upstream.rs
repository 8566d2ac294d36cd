//! What is spoken with endpoints.

use std::time::Duration;

use bs9_config::{Cluster, UpstreamHttp2, UpstreamProtocol, parse_str};

fn cluster(lines: &str) -> Result<Cluster, String> {
    let text = format!(
        "[listeners.x]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"tcp\"\ncluster = \"a\"\n[clusters.a]\n{lines}\n"
    );
    let parsed = parse_str("bs9.toml", &text).map_err(|report| report.to_string());
    parsed.map(|config| config.clusters["a"].clone())
}

fn offered(cluster: &Cluster) -> Vec<&str> {
    cluster.tls.iter().flat_map(|tls| tls.alpn.iter().map(AsRef::as_ref)).collect()
}

#[test]
fn http_1_1_is_spoken_unless_said_otherwise() {
    let usual = cluster("tls = true").unwrap();
    assert_eq!(usual.protocol, UpstreamProtocol::Http1);
    assert_eq!(usual.http2, UpstreamHttp2::default());
    assert_eq!(offered(&usual), [""; 0]);
    assert_eq!(cluster("protocol = \"http/1.1\"").unwrap().protocol, UpstreamProtocol::Http1);
}

#[test]
fn what_can_be_spoken_is_offered_in_the_handshake() {
    let h2 = cluster("protocol = \"h2\"\ntls = true").unwrap();
    assert_eq!((h2.protocol, offered(&h2)), (UpstreamProtocol::Http2, vec!["h2"]));
    let auto = cluster("protocol = \"auto\"\ntls = true").unwrap();
    assert_eq!((auto.protocol, offered(&auto)), (UpstreamProtocol::Auto, vec!["h2", "http/1.1"]));
    let own = "protocol = \"h2\"\ntls = { alpn = [\"own\", \"h2\"] }";
    assert_eq!(offered(&cluster(own).unwrap()), ["own", "h2"]);
    assert_eq!(cluster("protocol = \"h2\"").unwrap().tls, None);
}

#[test]
fn limits_are_read() {
    let read = cluster(
        "protocol = \"h2\"\nhttp2 = { connections = 2, max_concurrent_streams = 7, \
         stream_window = \"64KiB\", ping_interval = \"30s\", ping_timeout = \"3s\" }",
    );
    let expected = UpstreamHttp2 {
        connections: 2,
        max_concurrent_streams: 7,
        stream_window_bytes: 64 << 10,
        ping_interval: Some(Duration::from_secs(30)),
        ping_timeout: Duration::from_secs(3),
    };
    assert_eq!(read.unwrap().http2, expected);
}

#[test]
fn what_cannot_be_carried_out_is_refused() {
    for (lines, said) in [
        ("protocol = \"auto\"", "without `tls` there is no handshake to agree in"),
        ("protocol = \"auto\"\ntls = false", "without `tls` there is no handshake to agree in"),
        ("protocol = \"http2\"", "\"h2\""),
        ("http2 = {}", "`http2` has no meaning with this `protocol`"),
        ("protocol = \"h2\"\nproxy_protocol = \"v1\"", "`proxy_protocol` has no meaning"),
        ("protocol = \"h2\"\ntls = { alpn = [\"http/1.1\"] }", "does not offer what `protocol`"),
        ("protocol = \"auto\"\ntls = { alpn = [\"h2\"] }", "does not offer what `protocol`"),
        ("protocol = \"h2\"\nhttp2 = { connections = 0 }", "connections"),
        ("protocol = \"h2\"\nhttp2 = { stream_window = \"1KiB\" }", "stream_window"),
        ("protocol = \"h2\"\nhttp2 = { ping_timeout = \"1s\" }", "without `ping_interval`"),
    ] {
        let report = cluster(lines).expect_err(lines);
        assert!(report.contains(said), "{lines}: {report}");
    }
}
