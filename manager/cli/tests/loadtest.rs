//! `bs9 loadtest` against small servers.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;
#[path = "loadtest/progress.rs"]
mod progress;
#[path = "loadtest/protocols.rs"]
mod protocols;
#[path = "loadtest/shipped.rs"]
mod shipped;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use fixture::{bs9, origin::Origin, sample_endpoint::SampleEndpoint, tool::Tool, write};
use regex::Regex;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn requests_are_counted_and_bounds_are_kept() {
    let origin = Origin::start("one");
    let url = format!("http://{}/", origin.address);
    let flags = ["loadtest", &url, "-c", "4", "-n", "200", "--expect-body", "one"];
    let report = bs9(flags.iter().copied().chain(["--json", "--threshold", "errors == 0"])).json();
    assert_eq!(report["schema"], 1);
    assert_eq!(report["requests"]["succeeded"], 200);
    assert_eq!(report["passed"], true);
    let text = bs9(flags).ok();
    assert!(text.contains("200"), "{text}");

    bs9(["loadtest", &url, "-n", "20", "--expect-body", "two"]).fails(1);
    bs9(["loadtest", &url, "-n", "20", "--threshold", "p50 < 1us"]).fails(1);
}

#[test]
fn what_cannot_be_is_refused() {
    bs9(["loadtest", "ftp://127.0.0.1/"]).fails(2);
    bs9(["loadtest", "http://127.0.0.1:1/", "--mode", "simple"]).fails(2);
    bs9(["loadtest", "http://127.0.0.1:1/", "-n", "1"]).fails(6);
    let said = bs9(["loadtest", "http://192.0.2.1/", "-n", "1"]).fails(2);
    assert!(said.contains("--allow-remote"), "{said}");
    bs9(["loadtest", "--scenario", "x.toml", "-c", "4"]).fails(2);
    bs9(["loadtest", "http://127.0.0.1:1/", "--html", "/nowhere/report.html"]).fails(3);
}

#[test]
fn what_goes_wrong_is_told_apart_in_words_and_in_json() {
    // Nobody listens there any more.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = bs9(["loadtest", &format!("http://{refused}/"), "-n", "1"]).fails(6);
    assert!(said.contains("connection refused"), "{said}");
    // A multicast address: TCP has no way to one, whatever the network looks like.
    let said = bs9(["loadtest", "http://224.0.0.1/", "-n", "1", "--allow-remote"]).fails(6);
    assert!(said.contains("no way to the address"), "{said}");

    // It accepts, since the kernel does, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let origin = Origin::start("one");
    let origin = format!("http://{}/", origin.address);
    for (url, flags, kind, words) in [
        (&silent, ["--timeout", "100ms"], "request_timeout", "request timeout"),
        (&origin, ["--expect-body", "two"], "body", "wrong body"),
        (&origin, ["--expect-status", "201"], "status", "wrong status"),
    ] {
        let flags = ["loadtest", url, "-n", "3", "-c", "1"].into_iter().chain(flags);
        let text = bs9(flags.clone());
        assert!(text.code == Some(1) && text.stdout.contains(&format!("3 × {words}")), "{text:?}");
        let outcome = bs9(flags.chain(["--json"]));
        assert_eq!(outcome.code, Some(1));
        let report = outcome.json();
        assert_eq!(report["errors"][0]["kind"], kind, "{report:#}");
        assert_eq!(report["errors"][0]["count"], 3);
        assert_eq!(report["errors"].as_array().unwrap().len(), 1);
    }
}

/// A text of the load tester's documents, made to be over soon.
fn hurried(text: &str) -> String {
    let replace = |text: &str, pattern: &str, with: &str| {
        Regex::new(pattern).unwrap().replace_all(text, with).into_owned()
    };
    let text = replace(text, r#"(duration|warm_up) = "\w+""#, "$1 = \"300ms\"");
    let text = replace(&text, r"(-d|--warmup) \w+", "$1 300ms");
    // How long something takes is the machine's business, and how much it can take.
    let text = replace(&text, r"(p\d+) < \w+", "$1 < 60s");
    let text = replace(&text, r#"timeout = "\w+""#, "timeout = \"60s\"");
    let text = replace(&text, r"\b(\d+)000\b", "${1}0");
    replace(&text, r"requests > (\d+)0\b", "requests > $1")
}

#[test]
fn a_report_is_written_for_everybody() {
    let endpoint = SampleEndpoint::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (html, csv) = (file("report.html"), file("report.csv"));
    let flags = ["loadtest", &endpoint.url, "--rate", "100", "-d", "1200ms"];
    let report = bs9(flags.into_iter().chain(["--html", &html, "--csv", &csv, "--json"])).json();
    let series = report["series"].as_array().unwrap();
    assert_eq!(series[0]["asked_per_second"], 100.0);
    assert!(series[0]["latency_seconds"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(report["latency_curve"][0]["quantile"], 0.0);
    assert!(report["generator"]["threads"][0]["cpu_ratio"].is_number());
    let page = fs::read_to_string(html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains(&endpoint.url), "{page}");
    let csv = fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 1 + series.len());
}

#[test]
fn a_scenario_with_mistakes_says_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    write(&file, "target = \"http://127.0.0.1:1\"\nthread = 2\n[[requests]]\nweight = \"x\"\n");
    let said = bs9(["loadtest", "--scenario", file.to_str().unwrap()]).fails(5);
    for part in ["s.toml:2:1", "did you mean `threads`?", "s.toml:4:10", "2 errors found"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// The blocks of the load tester's document in one language.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/LOADTEST.md")).unwrap();
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_document_work() {
    let endpoint = SampleEndpoint::start();
    let folder = tempfile::tempdir().unwrap();
    let scenarios = blocks("toml");
    assert_eq!(scenarios.len(), 1);
    let scenario = hurried(&scenarios[0]).replace("http://127.0.0.1:8080", &endpoint.url);
    write(&folder.path().join("shop.toml"), &scenario);
    let mut found = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let line = hurried(line).replace("http://127.0.0.1:8080", &endpoint.url);
        let bare = line == "bs9 loadtest";
        // Both would go on for long, and need the usual ports.
        let line = match line.as_str() {
            "bs9 quickstart" => continue,
            "bs9 loadtest" => format!("bs9 loadtest {} -d 300ms", endpoint.url),
            line => line.to_owned(),
        };
        assert!(bare || line.starts_with("bs9 loadtest "), "{line}");
        let program = env!("CARGO_BIN_EXE_bs9");
        let line = line.replacen("bs9", program, 1);
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(folder.path());
        Tool::start(&mut shell).outcome().ok();
        found += 1;
    }
    assert!(found >= 7, "{found} commands");
    for file in ["report.html", "report.csv"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn the_links_of_the_document_lead_somewhere() {
    for document in ["docs/LOADTEST.md", "loadtest/README.md"] {
        let path = root().join(document);
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let found = path.parent().unwrap().join(link).exists();
            assert!(link.starts_with("https://") || found, "{document}: {link}");
        }
    }
}
