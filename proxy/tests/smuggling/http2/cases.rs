//! Requests of HTTP/2 by what they try.

use super::Stream;

type Field = (&'static str, &'static str);

const PLAIN: [Field; 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "site.test")];

fn get(
    section: &'static str,
    what: &'static str,
    fields: &[Field],
    verdict: &'static str,
) -> Stream {
    let fields = [&PLAIN[..], fields].concat();
    Stream { section, what, fields, data: None, trailers: Vec::new(), verdict }
}

/// A GET with another value of a field, or without it.
fn with(
    section: &'static str,
    what: &'static str,
    name: &'static str,
    value: Option<&'static str>,
    verdict: &'static str,
) -> Stream {
    let fields = PLAIN.into_iter().filter_map(|field| match (field.0 == name, value) {
        (true, Some(value)) => Some((name, value)),
        (true, None) => None,
        (false, _) => Some(field),
    });
    let fields = fields.collect();
    Stream { section, what, fields, data: None, trailers: Vec::new(), verdict }
}

fn post(
    section: &'static str,
    what: &'static str,
    fields: &[Field],
    data: &[&'static str],
    verdict: &'static str,
) -> Stream {
    let plain = with(section, what, ":method", Some("POST"), verdict);
    Stream { fields: [&plain.fields, fields].concat(), data: Some(data.to_vec()), ..plain }
}

/// Every case, in the order of the book.
pub(crate) fn all() -> Vec<Stream> {
    [names_and_values(), connections(), pseudo_fields(), bodies()].into_iter().flatten().collect()
}

fn names_and_values() -> Vec<Stream> {
    vec![
        get("9113 8", "a plain request", &[("x", "y")], "GET /a {x: y}, next"),
        get("9113 8.2", "a name in capitals", &[("X", "y")], "reset, next"),
        get("9113 8.2.1", "a space in a name", &[("x y", "z")], "reset, next"),
        get("9113 8.2.1", "a colon in a name", &[("x: y\r\nz", "1")], "reset, next"),
        get("9113 8.2.1", "CRLF in a name", &[("x\r\ny", "1")], "reset, next"),
        get("9113 8.2.1", "an empty name", &[("", "1")], "reset, next"),
        get(
            "9113 8.2.1",
            "CRLF and a request in a value",
            &[("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: site.test")],
            "reset, next",
        ),
        get(
            "9113 8.2.1",
            "CRLF and a field in a value",
            &[("x", "y\r\ntransfer-encoding: chunked")],
            "reset, next",
        ),
        get("9113 8.2.1", "LF in a value", &[("x", "y\nz: 1")], "reset, next"),
        get("9113 8.2.1", "CR in a value", &[("x", "y\rz: 1")], "reset, next"),
        get("9113 8.2.1", "NUL in a value", &[("x", "y\0")], "reset, next"),
        get("9113 8.2.1", "space before a value", &[("x", " y")], "400, next"),
        get("9113 8.2.1", "a tab behind a value", &[("x", "y\t")], "400, next"),
        get(
            "9113 8.2.3",
            "cookies in pieces",
            &[("cookie", "a=b"), ("cookie", "c=d")],
            "GET /a {cookie: a=b; c=d}, next",
        ),
    ]
}

fn connections() -> Vec<Stream> {
    let refused = |what, field| get("9113 8.2.2", what, &[field], "reset, next");
    vec![
        refused("connection", ("connection", "close")),
        refused("connection that names a field", ("connection", "x")),
        refused("keep-alive", ("keep-alive", "timeout=5")),
        refused("proxy-connection", ("proxy-connection", "close")),
        refused("upgrade", ("upgrade", "websocket")),
        refused("transfer-encoding", ("transfer-encoding", "chunked")),
        refused("transfer-encoding of nothing", ("transfer-encoding", "identity")),
        refused("te but for trailers", ("te", "gzip")),
        get("9113 8.2.2", "te for trailers", &[("te", "trailers")], "GET /a, next"),
        post(
            "9113 8.2.2",
            "H2.TE: transfer-encoding and a request behind the last chunk",
            &[("transfer-encoding", "chunked")],
            &["0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n"],
            "reset, next",
        ),
        get("9110 10.1.1", "an unknown expectation", &[("expect", "tea")], "417, next"),
    ]
}

fn pseudo_fields() -> Vec<Stream> {
    let path = |what, path, verdict| with("9113 8.3.1", what, ":path", Some(path), verdict);
    let authority =
        |what, name, verdict| with("9113 8.3.1", what, ":authority", Some(name), verdict);
    let method = |what, name, verdict| with("9113 8.3.1", what, ":method", Some(name), verdict);
    let behind = |what, field| get("9113 8.3", what, &[("x", "y"), field], "reset, next");
    vec![
        with("9113 8.3.1", "no :method", ":method", None, "reset, next"),
        with("9113 8.3.1", "no :scheme", ":scheme", None, "reset, next"),
        with("9113 8.3.1", "no :path", ":path", None, "reset, next"),
        with("9113 8.3.1", "no :authority and no host", ":authority", None, "400, next"),
        path("an empty :path", "", "reset, next"),
        path("a space in :path", "/a b", "reset, next"),
        path(
            "a request line in :path",
            "/a HTTP/1.1\r\nHost: b.test\r\n\r\nGET /smuggled",
            "reset, next",
        ),
        path("a version in :path", "/a HTTP/1.1", "reset, next"),
        path("LF in :path", "/a\nx: y", "reset, next"),
        path("NUL in :path", "/a\0", "reset, next"),
        path("a fragment in :path", "/a#b", "400, next"),
        path("a URL as :path", "http://b.test/a", "reset, next"),
        path("an asterisk without OPTIONS", "*", "400, next"),
        path("no slash", "a", "reset, next"),
        method("a request line as :method", "GET /smuggled HTTP/1.1\r\nx:", "reset, next"),
        method("a space in :method", "GET /a", "reset, next"),
        method("CONNECT with a path", "CONNECT", "reset, next"),
        authority("a space in :authority", "a b", "reset, next"),
        authority("CRLF in :authority", "site.test\r\nx: y", "reset, next"),
        authority("user information in :authority", "user@site.test", "400, next"),
        authority("a path in :authority", "site.test/a", "400, next"),
        authority("an empty :authority", "", "reset, next"),
        get("9113 8.3", "two :path", &[(":path", "/b")], "reset, next"),
        get("9113 8.3", "two :authority", &[(":authority", "b.test")], "reset, next"),
        get("9113 8.3", "two :method", &[(":method", "POST")], "reset, next"),
        get("9113 8.3", "an unknown pseudo-field", &[(":x", "y")], "reset, next"),
        get("9113 8.3", "the pseudo-field of a response", &[(":status", "200")], "reset, next"),
        behind("a pseudo-field behind a field", (":path", "/b")),
        behind(":authority behind a field", (":authority", "b.test")),
        get("9113 8.3.1", "host as :authority says", &[("host", "site.test")], "GET /a, next"),
        get("9113 8.3.1", "host unlike :authority", &[("host", "b.test")], "400, next"),
        get(
            "9113 8.3.1",
            "two hosts",
            &[("host", "site.test"), ("host", "site.test")],
            "400, next",
        ),
    ]
}

fn bodies() -> Vec<Stream> {
    let trailing = |what, field, verdict| Stream {
        trailers: vec![field],
        ..post("9113 8.1", what, &[], &["hello"], verdict)
    };
    vec![
        post("9113 8.1", "a body without a length", &[], &["he", "llo"], "POST /a <hello>, next"),
        post(
            "9113 8.1.1",
            "a body with its length",
            &[("content-length", "5")],
            &["he", "llo"],
            "POST /a (hello), next",
        ),
        post("9113 8.1", "no body", &[], &[""], "POST /a <>, next"),
        post(
            "9113 8.1.1",
            "H2.CL: a request behind the length",
            &[("content-length", "1")],
            &["GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n"],
            "reset, next",
        ),
        post(
            "9113 8.1.1",
            "one byte more than the length says",
            &[("content-length", "4")],
            &["hello"],
            "reset, next",
        ),
        post(
            "9113 8.1.1",
            "less than the length says",
            &[("content-length", "9")],
            &["hello"],
            "reset, next",
        ),
        post(
            "9113 8.1.1",
            "two lengths",
            &[("content-length", "5"), ("content-length", "6")],
            &["hello"],
            "reset, next",
        ),
        post(
            "9113 8.1.1",
            "two equal lengths",
            &[("content-length", "5"), ("content-length", "5")],
            &["hello"],
            "400, next",
        ),
        post(
            "9113 8.1.1",
            "a length that is no number",
            &[("content-length", "5a")],
            &["hello"],
            "reset, next",
        ),
        post(
            "9113 8.1.1",
            "a length with a sign",
            &[("content-length", "+5")],
            &["hello"],
            "reset, next",
        ),
        get("9113 8.1.1", "a length without a body", &[("content-length", "5")], "reset, next"),
        post(
            "9113 8.1",
            "a chunk is a body like any other",
            &[],
            &["0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"],
            "POST /a <0\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\n\\r\\n>, next",
        ),
        trailing("trailers", ("x-sum", "1"), "POST /a <hello> +{x-sum: 1}, next"),
        trailing("CRLF in a trailer", ("x-sum", "1\r\nx: y"), "reset, next"),
        trailing("a pseudo-field in trailers", (":path", "/b"), "reset, next"),
        trailing("a length in trailers", ("content-length", "1"), "400, next"),
        trailing("a coding in trailers", ("transfer-encoding", "chunked"), "reset, next"),
    ]
}
