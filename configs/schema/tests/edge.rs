//! The edge: who may come, who is believed, what is logged.

use std::time::Duration;

use bs9_config::{
    Config, ForwardedField, ListenerProtocol, LogField, LogFormat, LogOutput, ProxyProtocol,
    Rotation, TemplatePiece, parse_str,
};

fn parse(listener: &str, protocol: &str) -> Result<Config, String> {
    let goes =
        if protocol == "http" { "routes = [{ cluster = \"a\" }]" } else { "cluster = \"a\"" };
    let goes = if protocol == "postgres" { "" } else { goes };
    let pool = if protocol == "postgres" { "[postgres.databases.app]\n" } else { "" };
    let text = format!(
        "[listeners.x]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"{protocol}\"\n{goes}\n{listener}\n\
         [clusters.a]\nendpoints = [\"127.0.0.1:2\"]\n{pool}"
    );
    parse_str("bs9.toml", &text).map_err(|report| report.to_string())
}

fn refused(listener: &str, protocol: &str) -> String {
    parse(listener, protocol).expect_err(listener)
}

#[test]
fn lists_and_trust() {
    let text = "allow = [\"10.0.0.0/8\", \"::1\"]\ndeny = [\"10.6.0.0/16\"]\n\
                trusted_proxies = [\"192.0.2.1\", \"unix\"]\nproxy_protocol = true";
    for protocol in ["http", "tcp", "postgres"] {
        let config = parse(text, protocol).unwrap();
        let admission = &config.listeners["x"].admission;
        let shown = |networks: &[bs9_config::Network]| {
            networks.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(admission.allow.as_ref().unwrap()), ["10.0.0.0/8", "::1/128"]);
        assert_eq!(shown(&admission.deny), ["10.6.0.0/16"]);
        assert_eq!(shown(&admission.trusted_proxies.networks), ["192.0.2.1/32"]);
        assert!(admission.trusted_proxies.unix);
        assert_eq!(admission.proxy_protocol.unwrap().timeout, Duration::from_secs(5));
    }
    assert!(
        parse("proxy_protocol = false", "tcp").unwrap().listeners["x"]
            .admission
            .proxy_protocol
            .is_none()
    );
    for (text, protocol, said) in [
        ("proxy_protocol = true", "tcp", "without `trusted_proxies`"),
        ("trusted_proxies = [\"10.0.0.0/8\"]", "tcp", "without `proxy_protocol`"),
        ("trusted_proxies = [\"10.0.0.0/8\"]", "udp", "no meaning for protocol = \"udp\""),
        ("allow = []", "tcp", "the list is empty"),
        ("deny = [\"10.0.0.1/8\"]", "tcp", "write \"10.0.0.0/8\""),
        ("deny = [\"unix\"]", "tcp", "is not a network"),
        (
            "trusted_proxies = [\"10.0.0.0/8\"]\ntrust_forwarded = true",
            "http",
            "would believe everybody",
        ),
    ] {
        let report = refused(text, protocol);
        assert!(report.contains(said), "{report}");
    }
}

#[test]
fn logs() {
    let text = "access_log = { output = \"file:/var/log/a\", template = \"{client} {status}\", sample = 0.5, rotate_size = \"1MiB\", keep = 3, queue_size = \"1MiB\" }";
    for protocol in ["http", "tcp", "udp"] {
        let config = parse(text, protocol).unwrap();
        let log = config.listeners["x"].access_log.as_ref().unwrap();
        let rotation = Some(Rotation { max_bytes: 1 << 20, keep: 3 });
        assert_eq!(log.output, LogOutput::File { path: "/var/log/a".into(), rotation });
        assert_eq!((log.sample, log.queue_bytes), (0.5, 1 << 20));
        let LogFormat::Template(pieces) = &log.format else { panic!("a template") };
        assert_eq!(pieces[0], TemplatePiece::Field(LogField::Client));
    }
    let config = parse("access_log = {}", "http").unwrap();
    let log = config.listeners["x"].access_log.as_ref().unwrap();
    assert_eq!((&log.output, &log.format, log.sample), (&LogOutput::Stdout, &LogFormat::Json, 1.0));
    for (text, protocol, said) in [
        ("access_log = {}", "postgres", "no meaning for protocol = \"postgres\""),
        ("access_log = { output = \"/var/log/a\" }", "http", "is no output"),
        (
            "access_log = { format = \"json\", template = \"{client}\" }",
            "http",
            "both `format` and `template`",
        ),
        ("access_log = { template = \"{clint}\" }", "http", "did you mean {client}?"),
        ("access_log = { rotate_size = \"1MiB\" }", "http", "for what is not a file"),
        ("access_log = { sample = 1.5 }", "http", "above the maximum"),
    ] {
        let report = refused(text, protocol);
        assert!(report.contains(said), "{report}");
    }
}

#[test]
fn two_logs_share_a_file_only_when_they_agree_on_it() {
    let listener = |name: &str, port: u16, size: &str| {
        format!(
            "[listeners.{name}]\nbind = [\"127.0.0.1:{port}\"]\nprotocol = \"tcp\"\ncluster = \"a\"\naccess_log = {{ output = \"file:/a.log\", rotate_size = \"{size}\" }}\n"
        )
    };
    let cluster = "[clusters.a]\n";
    let text = [&listener("x", 1, "1MiB"), &listener("y", 2, "2MiB"), cluster].concat();
    let report = parse_str("bs9.toml", &text).unwrap_err().to_string();
    assert!(report.contains("`/a.log` is rotated otherwise by listener `x`"), "{report}");
    let text = [&listener("x", 1, "1MiB"), &listener("y", 2, "1MiB"), cluster].concat();
    assert!(parse_str("bs9.toml", &text).is_ok());
}

#[test]
fn ids_traces_and_fields() {
    let config = parse("request_id = { header = \"X-Id\", keep = false }\ntrace_context = true\nforwarded_field = \"forwarded\"\nmax_route_metrics = 0", "http").unwrap();
    let ListenerProtocol::Http(http) = &config.listeners["x"].protocol else { panic!("http") };
    let id = http.request_id.as_ref().unwrap();
    assert_eq!((&*id.header, id.keep), ("X-Id", false));
    let trace = http.trace_context.unwrap();
    assert_eq!((trace.keep, trace.sample), (true, 1.0));
    assert_eq!(http.forwarded_field, ForwardedField::Forwarded);
    assert_eq!(http.max_route_metrics, 0);
    for header in ["Host", "a b", "", "X-Forwarded-For", "traceparent"] {
        let report = refused(&format!("request_id = {{ header = {header:?} }}"), "http");
        assert!(report.contains("request_id.header"), "{report}");
    }
}

#[test]
fn udp() {
    let config =
        parse("max_responses = 1\nidle_timeout = \"5s\"\nmax_connections = 10", "udp").unwrap();
    let ListenerProtocol::Udp(udp) = &config.listeners["x"].protocol else { panic!("udp") };
    assert_eq!((&*udp.cluster, udp.idle_timeout), ("a", Duration::from_secs(5)));
    assert_eq!(udp.max_responses.unwrap().get(), 1);
    let usual = parse("", "udp").unwrap();
    let ListenerProtocol::Udp(udp) = &usual.listeners["x"].protocol else { panic!("udp") };
    assert_eq!((udp.idle_timeout, udp.max_responses), (Duration::from_secs(60), None));
    for (text, said) in [
        ("max_lifetime = \"1h\"", "no meaning for protocol = \"udp\""),
        ("sni = [{ names = [\"a\"], cluster = \"a\" }]", "no meaning for protocol = \"udp\""),
    ] {
        assert!(refused(text, "udp").contains(said), "{text}: {}", refused(text, "udp"));
    }
    let base = "[listeners.x]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"udp\"\ncluster = \"a\"\n";
    let both = format!(
        "{base}[listeners.y]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"tcp\"\ncluster = \"a\"\n[clusters.a]\n"
    );
    assert!(parse_str("bs9.toml", &both).is_ok(), "UDP and TCP have ports of their own");
    for (cluster, said) in [
        ("endpoints = [\"unix:/a\"]", "no datagrams can be sent to `unix:/a`"),
        ("proxy_protocol = \"v2\"", "`proxy_protocol` has no meaning for datagrams"),
    ] {
        let report = parse_str("bs9.toml", &format!("{base}[clusters.a]\n{cluster}\n"))
            .unwrap_err()
            .to_string();
        assert!(report.contains(said), "{report}");
    }
    let unix = base.replace("127.0.0.1:1", "unix:/a.sock");
    let report = parse_str("bs9.toml", &format!("{unix}[clusters.a]\n")).unwrap_err().to_string();
    assert!(report.contains("an IP address"), "{report}");
}

#[test]
fn what_endpoints_are_told_is_told_once() {
    let text = "[listeners.x]\nbind = [\"127.0.0.1:1\"]\nprotocol = \"tcp\"\ncluster = \"a\"\n[clusters.a]\nproxy_protocol = \"v1\"\n";
    let config = parse_str("bs9.toml", text).unwrap();
    let cluster = &config.clusters["a"];
    assert_eq!(cluster.proxy_protocol, Some(ProxyProtocol::V1));
    assert_eq!(cluster.max_idle_connections, 0);
}
