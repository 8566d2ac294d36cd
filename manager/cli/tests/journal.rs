//! The access log in a real journal.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{eventually, sandbox::Sandbox};

#[test]
fn requests_are_entries_of_the_journal() {
    let sandbox = Sandbox::start();
    let _data_plane = sandbox.data_plane(
        "[runtime]\nshards = 1\n\
         [listeners.web]\nbind = [\"127.0.0.1:8000\"]\nprotocol = \"http\"\n\
         access_log = { output = \"journald\", format = \"json\" }\n\
         [[listeners.web.routes]]\npath = \"/\"\nrespond = { status = 200, body = \"own\" }\n",
    );
    let paths = ["/one", "/two?a=b"];
    for path in paths {
        assert_eq!(sandbox.get(8000, path).unwrap(), "own");
    }
    let entries = eventually("both are in the journal", || {
        let said = sandbox.run("journalctl", &["--output=json", "BS9_LOG=access"]).ok();
        let entries: Vec<serde_json::Value> =
            said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (entries.len() == 2).then_some(entries)
    });
    for (entry, path) in entries.iter().zip(paths) {
        assert_eq!((&entry["SYSLOG_IDENTIFIER"], &entry["PRIORITY"]), (&"bs9".into(), &"6".into()));
        let line: serde_json::Value =
            serde_json::from_str(entry["MESSAGE"].as_str().unwrap()).unwrap();
        assert_eq!((&line["path"], &line["status"]), (&path.into(), &200.into()), "{line}");
    }
}
