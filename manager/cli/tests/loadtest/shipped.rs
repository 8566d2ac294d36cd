//! Scenarios and scripts for wrk as they are in the sources, against what `make run` starts: each
//! by the command that stands at its top.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    fixture::{Outcome, quickstart::Quickstart, tool::source_root, write},
    hurried,
};

/// What `bs9 quickstart` started, and how others get there.
pub(crate) struct Sample {
    _quickstart: Quickstart,
    /// Where HTTP is spoken: `127.0.0.1:PORT`.
    http: String,
    /// Where the pool listens.
    pool: String,
    /// What its user `app` proves itself with.
    password: String,
}

impl Sample {
    pub(crate) fn start() -> Self {
        let quickstart = Quickstart::start(&[]);
        let http = quickstart.word("http");
        let http = http.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let pool = quickstart.word("pool");
        let password = fs::read_to_string(quickstart.home.join("password")).unwrap();
        Self { http, pool, password: password.trim().to_owned(), _quickstart: quickstart }
    }

    /// A text that names the usual ports, with those of this one.
    pub(crate) fn placed(&self, text: &str) -> String {
        text.replace("127.0.0.1:8080", &self.http).replace("127.0.0.1:6432", &self.pool)
    }

    /// Runs a line through a shell, in a folder.
    pub(crate) fn shell(&self, line: &str, folder: &Path) -> Outcome {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(folder).env("PGPASSWORD", &self.password);
        Outcome::of(shell.output().unwrap())
    }
}

/// The files of `loadtest/FOLDER` with this ending, by name.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(source_root().join("loadtest").join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

/// The lines of a file's comment that call this program.
fn commands(text: &str, mark: &str, program: &str) -> Vec<String> {
    let comments = text.lines().filter_map(|line| line.strip_prefix(mark)).map(str::trim);
    let calls = comments.filter(|line| line.contains(&format!("{program} ")));
    let calls: Vec<_> =
        calls.filter(|line| line.contains("loadtest/")).map(str::to_owned).collect();
    assert!(!calls.is_empty(), "no line says how it is run: {text}");
    calls
}

/// The scenarios in a folder as in the sources, made to be over soon.
fn hurried_scenarios() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let scenarios = folder.path().join("loadtest/scenarios");
    fs::create_dir_all(&scenarios).unwrap();
    for path in fs::read_dir(source_root().join("loadtest/scenarios")).unwrap() {
        let path = path.unwrap().path();
        let text = hurried(&fs::read_to_string(&path).unwrap());
        write(&scenarios.join(path.file_name().unwrap()), &text);
    }
    folder
}

/// The target a scenario names.
fn target(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("target = \"")).unwrap();
    line.split('"').next().unwrap()
}

#[test]
fn every_scenario_runs_against_quickstart_and_keeps_its_bounds() {
    let sample = Sample::start();
    let folder = hurried_scenarios();
    let mut ran = Vec::new();
    for path in files("scenarios", "toml") {
        let text = fs::read_to_string(&path).unwrap();
        let commands = commands(&text, "#", "bs9 loadtest");
        assert_eq!(commands.len(), 1, "{path:?}");
        // Its own target, were it not that these ports may be somebody else's.
        let url = sample.placed(target(&text));
        let line = commands[0].replace("PGPASSWORD=… ", "");
        let line = line.replacen("bs9", env!("CARGO_BIN_EXE_bs9"), 1);
        let outcome = sample.shell(&format!("{line} {url} --json"), folder.path());
        assert_eq!(outcome.code, Some(0), "{path:?}: {outcome:#?}");
        let report = outcome.json();
        assert_eq!(report["requests"]["failed"], 0, "{path:?}: {report:#}");
        // Every bound of the file, those of its requests included.
        let bounds = text.lines().filter(|line| line.starts_with("thresholds = "));
        let bounds: usize = bounds.map(|line| line.split(',').count()).sum();
        let verdicts = report["thresholds"].as_array().unwrap();
        assert_eq!(verdicts.len(), bounds, "{path:?}: {report:#}");
        assert!(verdicts.iter().all(|verdict| verdict["passed"] == true), "{report:#}");
        let mix = report["mix"].as_array().unwrap();
        assert_eq!(mix.len(), text.matches("[[requests]]").count(), "{path:?}");
        assert!(mix.iter().all(|row| row["succeeded"].as_u64() > Some(0)), "{path:?}: {report:#}");
        let stages = report["stages"].as_array().map_or(0, Vec::len);
        assert_eq!(stages, text.matches("[[stages]]").count(), "{path:?}");
        if let Some((_, page)) = line.split_once(" --html ") {
            assert!(folder.path().join(page).exists(), "{page}");
        }
        ran.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(ran, ["pool", "shop", "smoke", "steps"]);
}

#[test]
fn wrk_runs_its_scripts_against_quickstart() {
    let sample = Sample::start();
    let mut ran = 0;
    for script in files("wrk", "lua") {
        for line in commands(&fs::read_to_string(&script).unwrap(), "--", "wrk") {
            let line = sample.placed(&line).replace("-d10s", "-d1s");
            let said = sample.shell(&line, &source_root()).ok();
            assert!(said.contains("Requests/sec"), "{line}: {said}");
            for trouble in ["Socket errors", "Non-2xx"] {
                assert!(!said.contains(trouble), "{line}: {said}");
            }
            ran += 1;
        }
    }
    assert_eq!(ran, 4);
}
