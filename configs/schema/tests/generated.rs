//! What is generated from the definitions and committed is up to date.

use std::{env, fs, path::Path};

/// Compares a committed file, or writes it when `UPDATE` is set.
fn assert_current(file: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, generated).expect("the file can be written");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{file} is out of date; to bring it up to date run: UPDATE=1 cargo test -p bs9-config --test generated"
    );
}

fn pretty(schema: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a JSON value can be written");
    text.push('\n');
    text
}

#[test]
fn the_reference_is_current() {
    assert_current("docs/CONFIGURATION.md", &bs9_config::reference_markdown());
}

#[test]
fn the_json_schema_is_current() {
    assert_current("configs/bs9.schema.json", &pretty(&bs9_config::json_schema()));
}

#[test]
fn the_services_json_schema_is_current() {
    assert_current("configs/service.schema.json", &pretty(&bs9_config::service_json_schema()));
}

#[test]
fn the_managers_json_schema_is_current() {
    assert_current("configs/manager.schema.json", &pretty(&bs9_config::manager_json_schema()));
}
