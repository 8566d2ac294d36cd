//! Programs in Python, with the libraries that `.ci/deps test` installs.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The interpreter, with a script beside these tests.
fn python(script: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = root.join("../.deps/venv/bin/python");
    assert!(python.exists(), "its packages are needed (.ci/deps test): {}", python.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/traffic").join(script));
    command
}

/// A server, which writes its port and ends with its standard input; ends when dropped.
pub(crate) struct Served {
    process: Child,
    port: String,
}

impl Served {
    pub(crate) fn start(script: &Path) -> Self {
        let mut command = python(script);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        let said = process.stdout.as_mut().expect("it is piped");
        BufReader::new(said).read_line(&mut port).unwrap();
        Self { process, port: port.trim().to_owned() }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ended = self.process.wait();
    }
}

/// Runs a client to its end, which has to be a good one.
pub(crate) fn run(script: &Path, arguments: &[&str]) {
    let output = python(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim_end().ends_with("done"), "{said}{errors}");
}
