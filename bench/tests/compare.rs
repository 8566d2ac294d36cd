//! One cheap row from its start to the files it writes: a figure where bs9 works, and a note
//! where it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// What a run printed, and what it wrote.
struct Run {
    output: Output,
    figures: Value,
    markdown: String,
}

#[test]
fn a_row_comes_with_its_figures_as_a_table_and_as_json() {
    let run = run("start", [3, 2], &[("bs9", bs9())]);
    assert_eq!(run.output.status.code(), Some(0), "{}", run.said());
    let said = run.said();
    let (title, rest) = said.split_once('\n').expect("there is a title");
    assert!(title.starts_with("start: from the start of bs9 serve"), "{said}");
    let line = rest.lines().find(|line| line.contains("bs9")).expect("bs9 has a line");
    // Median, and what it lies between.
    assert!(line.contains('(') && line.contains('–') && line.contains('≤'), "{said}");
    assert!(
        said.contains("3 rounds of 1 s after 1 s of warm-up, in 2 sweeps through all rows"),
        "{said}"
    );
    assert!(said.contains("Compare ratios, and only within one run."), "{said}");
    assert!(!said.contains("failed:") && !said.contains("errors:"), "{said}");
    assert!(run.markdown.contains("bs9"), "{}", run.markdown);

    let figures = &run.figures;
    assert_eq!((&figures["rounds"], &figures["sweeps"]), (&3.into(), &2.into()));
    let rows = figures["rows"].as_array().expect("there are rows");
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["name"], &rows[0]["missing"]), (&"start".into(), &Value::Array(vec![])));
    let ours = run.ours();
    assert_eq!((&ours["name"], &ours["failure"]), (&"bs9".into(), &Value::Null));
    let values: Vec<_> = rounds(ours).iter().map(|round| round["value"].as_f64()).collect();
    assert_eq!(values.len(), 3);
    assert!(values.iter().all(|value| *value > Some(0.0)), "{values:?}");
    // The table shows what the file says, in milliseconds.
    let limit = &rows[0]["limit"];
    let median = limit["value"]["median"].as_f64().expect("there is a median") * 1e3;
    assert!(line.contains(&format!("{median:.2} (")), "{median} in {line}");
    assert!(limit["verdict"].is_string(), "{limit}");
}

#[test]
fn contenders_that_fail_have_a_note_instead_of_a_ratio_and_fail_the_run() {
    // It has a version, whoever it is said to be, and does nothing else.
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let impostor = folder.path().join("impostor");
    fs::write(&impostor, "#!/bin/sh\necho impostor 9.9\n").expect("the folder is our own");
    fs::set_permissions(&impostor, Permissions::from_mode(0o755)).expect("the file is our own");
    let impostors = ["bs9", "nginx", "haproxy"].map(|name| (name, impostor.clone()));
    let run = run("http-connections", [1, 1], &impostors);
    let said = run.said();
    assert_eq!(run.output.status.code(), Some(1), "{said}");
    for (name, _) in impostors {
        assert!(said.contains(&format!("\nfailed: {name}: ")), "{name}: {said}");
    }
    assert!(!said.contains("ours/theirs"), "there is no ratio to show: {said}");
    assert!(run.markdown.contains("\n- failed: bs9: "), "{}", run.markdown);
    let row = &run.figures["rows"][0];
    for contender in row["contenders"].as_array().expect("contenders are a list") {
        assert!(rounds(contender).is_empty(), "{contender}");
        assert!(contender["failure"].as_str().is_some_and(|why| !why.is_empty()), "{contender}");
    }
    let comparisons = row["comparisons"].as_array().expect("comparisons are a list");
    assert_eq!(comparisons.len(), 2, "{row}");
    for comparison in comparisons {
        let (ratio, verdict) = (&comparison["ratio"], &comparison["verdict"]);
        assert!(ratio.is_null() && verdict.is_null(), "{comparison}");
    }
}

#[test]
fn bs9_that_fails_has_no_verdict_on_its_limit_either() {
    let run = run("start", [2, 2], &[("bs9", PathBuf::from("/bin/true"))]);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.said());
    assert!(run.said().contains("\nfailed: bs9: "), "{}", run.said());
    assert!(rounds(run.ours()).is_empty(), "{}", run.ours());
    let limit = &run.figures["rows"][0]["limit"];
    assert!(limit["value"].is_null() && limit["verdict"].is_null(), "{limit}");
}

impl Run {
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn ours(&self) -> &Value {
        &self.figures["rows"][0]["contenders"][0]
    }
}

fn rounds(contender: &Value) -> &[Value] {
    contender["rounds"].as_array().expect("rounds are a list")
}

/// Runs a row with these programs in the contenders' places, so many rounds in so many sweeps.
fn run(row: &str, [rounds, sweeps]: [u32; 2], programs: &[(&str, PathBuf)]) -> Run {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let (json, markdown) = (folder.path().join("run.json"), folder.path().join("run.md"));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bs9-bench"));
    bench.args(["--only", row, "--rounds", &rounds.to_string(), "--sweeps", &sweeps.to_string()]);
    bench.arg("--json").arg(&json).arg("--markdown").arg(&markdown);
    for (name, program) in programs {
        bench.arg("--binary").arg(format!("{name}={}", program.display()));
    }
    let output = bench.output().expect("bs9-bench was built with this test");
    let read = |file: &Path| {
        let said = String::from_utf8_lossy(&output.stderr);
        fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}: {said}", file.display()))
    };
    let figures = serde_json::from_str(&read(&json)).expect("the figures are JSON");
    Run { figures, markdown: read(&markdown), output }
}

/// The same build's bs9, beside this test's own program.
fn bs9() -> PathBuf {
    let bs9 = PathBuf::from(env!("CARGO_BIN_EXE_bs9-bench")).with_file_name("bs9");
    assert!(bs9.is_file(), "build it first: cargo build --bin bs9");
    bs9
}
