//! The report as a page.

use std::{fs, path::Path};

use crate::{
    scenario::carry_out,
    server::{Answer, Server, response},
};

/// Tags that are opened and closed, in their order, without those that are never closed.
fn unclosed(page: &str) -> Vec<String> {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.split([' ', '/']).next().unwrap();
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed without being opened");
        } else if !tag.ends_with('/') && !matches!(name, "!doctype" | "meta") {
            open.push(name.to_owned());
        }
    }
    open
}

#[test]
fn a_page_is_whole_and_needs_nothing_else() {
    let server = Server::http(|request| match request.index % 50 {
        7 => Answer::Send(response(503, "busy")),
        9 => Answer::Reset,
        _ => Answer::Send(response(200, "hello")),
    });
    let report = carry_out(
        &server.url(),
        r#"
connections = 4
thresholds = ["p99 < 1s", "errors == 0"]
[[stages]]
name = "warm <&>"
duration = "1s"
rate = "100..400"
[[stages]]
name = "full"
duration = "2s"
rate = 400
[[requests]]
name = "<script>alert(1)</script>"
path = "/"
[[requests]]
name = "other"
path = "/other"
"#,
    );
    let page = report.to_html();
    // For whoever wants to look at it.
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.html"), &page).unwrap();
    assert_eq!(unclosed(&page), Vec::<String>::new());
    assert!(!page.contains("<script"), "there is none, whatever a request is called");
    for elsewhere in ["http-equiv", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    for part in [
        "Throughput",
        "Latency over time",
        "Latency by percentile",
        "Latency distribution",
        "Errors over time",
        "Load generator",
        "wrong status",
        "connection reset",
        "prefers-color-scheme: dark",
        "warm &lt;&amp;&gt;",
        "class=\"verdict failed\"",
        "Requests of the mix",
        "Stages",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
    assert!(!page.contains("NaN") && !page.contains("inf"), "every place is a number");
}

#[test]
fn nothing_succeeded_is_a_page_too() {
    let server = Server::http(|_| Answer::Send(response(500, "")));
    let page = carry_out(&server.url(), "duration = \"200ms\"\nconnections = 1").to_html();
    assert!(page.contains("Errors over time") && !page.contains("Latency over time"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}
