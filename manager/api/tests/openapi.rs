//! The committed OpenAPI documents are what the endpoint table says.
//!
//! `UPDATE_OPENAPI=1 cargo test -p bs9-api --test openapi` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::{env, fs, path::PathBuf};

use bs9_api::{endpoints, openapi};
use bs9_config::Process;
use serde_json::Value;

fn check(process: Process, name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi").join(name);
    let current = openapi::document(process);
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "docs/openapi/{name} is not what the code says; \
         look at the difference after UPDATE_OPENAPI=1 cargo test -p bs9-api --test openapi"
    );
}

#[test]
fn the_data_planes_document_is_current() {
    check(Process::DataPlane, "dataplane.json");
}

#[test]
fn the_managers_document_is_current() {
    check(Process::Manager, "manager.json");
}

#[test]
fn every_endpoint_is_in_its_document() {
    for process in [Process::DataPlane, Process::Manager] {
        let document: Value = serde_json::from_str(&openapi::document(process)).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        for endpoint in endpoints::of(process) {
            let method = endpoint.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][endpoint.path][method];
            assert_eq!(operation["operationId"], endpoint.operation_id);
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for process in [Process::DataPlane, Process::Manager] {
        let document: Value = serde_json::from_str(&openapi::document(process)).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(target) if name == "$ref" => references.push(target.clone()),
                    _ => collect(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
