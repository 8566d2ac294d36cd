//! `bs9 check`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::fs;

use fixture::{bs9, write};

const VALID: &str = "\
[listeners.web]
bind = [\"127.0.0.1:8080\"]
protocol = \"http\"
[[listeners.web.routes]]
cluster = \"api\"
[clusters.api]
endpoints = [\"127.0.0.1:3001\"]
";

fn checked(text: &str, flags: &[&str]) -> fixture::Outcome {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    write(&file, text);
    bs9(["check", file.to_str().unwrap()].iter().copied().chain(flags.iter().copied()))
}

#[test]
fn a_valid_configuration_is_called_valid() {
    let said = checked(VALID, &[]).ok();
    assert!(said.starts_with("valid: "), "{said}");
}

#[test]
fn every_error_is_shown_with_its_place() {
    let text =
        VALID.replace("cluster = \"api\"", "cluster = \"apj\"").replace("endpoints", "endpoint");
    let said = checked(&text, &[]).fails(5);
    for part in ["bs9.toml:5:11", "bs9.toml:7:1", "`api`", "`endpoints`"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert!(!said.contains('\x1b'), "colours in a pipe: {said:?}");
}

#[test]
fn a_certificate_that_cannot_be_had_is_an_error_of_the_configuration() {
    let tls =
        "[listeners.web.tls]\ncertificates = [{ certificate = \"no.pem\", key = \"no.key\" }]\n";
    let said = checked(&VALID.replace("[[listeners", &format!("{tls}[[listeners")), &[]).fails(5);
    for part in ["no.pem: No such file", "no.key: No such file", "bs9.toml:5:33"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    // Nor does it start.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    fs::write(folder.path().join("empty.pem"), "").unwrap();
    let empty = tls.replace("no.", "empty.");
    write(&file, &VALID.replace("[[listeners", &format!("{empty}[[listeners")));
    let said = bs9(["serve", "--config", file.to_str().unwrap()]).fails(5);
    assert!(said.contains("empty.pem is empty"), "{said}");
}

#[test]
fn programs_get_json() {
    let good = checked(VALID, &["--json"]);
    assert_eq!(good.code, Some(0));
    let good = good.json();
    assert_eq!((&good["valid"], &good["schema"]), (&true.into(), &"bs9.check/1".into()));

    let bad = checked(&format!("{VALID}bogus = 1\n"), &["--json"]);
    assert_eq!(bad.code, Some(5));
    assert_eq!(bad.stderr, "");
    let bad = bad.json();
    assert_eq!(bad["valid"], false);
    assert_eq!((&bad["errors"][0]["line"], &bad["errors"][0]["column"]), (&8.into(), &1.into()));
}

#[test]
fn a_folder_is_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (listeners, clusters) = VALID.split_at(VALID.find("[clusters").unwrap());
    write(&folder.path().join("10-listeners.toml"), listeners);
    let path = folder.path().to_str().unwrap();
    bs9(["check", path]).fails(5);
    write(&folder.path().join("20-clusters.toml"), clusters);
    bs9(["check", path]).ok();
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let said = bs9(["check", "/nonexistent/bs9.toml"]).fails(5);
    assert!(said.contains("/nonexistent/bs9.toml"), "{said}");
}

#[test]
fn a_managers_configuration_has_other_keys() {
    checked("[history]\nkeep = \"5m\"\n", &["--manager"]).ok();
    checked("[history]\nkeep = \"5m\"\n", &[]).fails(5);
}

#[test]
fn the_schema_is_one() {
    for flags in [&["check", "--schema"][..], &["check", "--schema", "--manager"]] {
        let schema = bs9(flags.iter().copied()).json();
        assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{flags:?}");
        assert_eq!(schema["type"], "object");
    }
}

#[test]
fn a_check_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bs9.toml");
    write(&file, VALID);
    bs9(["check", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
