//! Every sample in `configs` is valid, and says so without a warning; every key has one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use authority::Authority;
use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item, TomlError};

mod authority;

fn samples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = fs::read_dir(folder).expect("the folder of samples");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect()
}

/// Certificates for the samples that name some: none is kept in the repository, where it
/// would expire.
fn issue(folder: &Path) {
    let office = Authority::new("office");
    fs::create_dir(folder).expect("a folder");
    fs::write(folder.join("office-ca.pem"), office.pem()).expect("written");
    for name in ["site", "shop"] {
        let issued = office.issue(&[&format!("{name}.example.com")]);
        fs::write(folder.join(format!("{name}.pem")), issued.chain).expect("written");
        fs::write(folder.join(format!("{name}.key")), issued.key).expect("written");
    }
}

#[test]
fn every_sample_is_valid() {
    let samples = samples();
    assert!(samples.len() >= 6, "found only {samples:?}");
    let folder = tempfile::tempdir().expect("a folder");
    issue(&folder.path().join("certificates"));
    for companion in ["postgres-tls.hba.conf", "postgres-tls.ident.conf"] {
        let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(companion);
        fs::copy(place, folder.path().join(companion)).expect("copied");
    }
    for sample in samples {
        let path = folder.path().join(sample.file_name().expect("a name"));
        fs::copy(&sample, &path).expect("copied");
        let report = match path.file_stem().is_some_and(|name| name == "manager") {
            true => bs9_config::check_manager(&path).report,
            false => bs9_config::check(&path).report,
        };
        assert!(report.is_empty(), "{}", report.render(false));
    }
}

#[test]
fn the_annotated_sample_shows_the_defaults() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bs9.toml");
    let sample = bs9_config::load(&path).expect("a valid sample");
    let bare = bs9_config::parse_str("bare.toml", "").expect("nothing is required");
    assert_eq!(sample.runtime, bare.runtime);

    let postgres = sample.postgres.expect("the sample has a pool");
    let text = "[postgres]\n[postgres.databases.app]\n[listeners.db]\nprotocol = \"postgres\"\nbind = [\"[::1]:1\"]";
    let bare = bs9_config::parse_str("bare.toml", text).expect("a pool with defaults");
    let bare = bare.postgres.expect("a pool");
    let without_names = |mut postgres: bs9_config::Postgres| {
        postgres.databases.clear();
        postgres.users.clear();
        postgres.console.admin_users.clear();
        postgres
    };
    assert_eq!(without_names(postgres), without_names(bare));
}

#[test]
fn every_sample_of_a_service_is_valid() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../services");
    let entries = fs::read_dir(folder).expect("the folder of services");
    let files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() >= 2, "found only {files:?}");
    for file in files {
        let report = bs9_config::check_service(&file).report;
        assert!(report.is_empty(), "{}", report.render(false));
    }
}

/// The shape of a file: tables, lists, and null for everything else.
fn parse(text: &str) -> Result<Value, TomlError> {
    fn shape(item: &Item) -> Value {
        if let Some(table) = item.as_table_like() {
            table.iter().map(|(name, item)| (name.to_owned(), shape(item))).collect()
        } else if let Some(tables) = item.as_array_of_tables() {
            tables.iter().map(|table| shape(&Item::Table(table.clone()))).collect()
        } else if let Some(array) = item.as_array() {
            array.iter().map(|value| shape(&Item::Value(value.clone()))).collect()
        } else {
            Value::Null
        }
    }
    text.parse::<DocumentMut>().map(|document| shape(document.as_item()))
}

/// What a sample shows: itself, and each key on a line of its own that is a comment.
fn shown(text: &str) -> (Value, Vec<Value>) {
    let mut table: Vec<&str> = Vec::new();
    let mut comments = Vec::new();
    for line in text.lines() {
        let (bare, commented) = match line.strip_prefix("# ") {
            Some(bare) => (bare, true),
            None => (line, false),
        };
        if let Some((name, _)) = bare.strip_prefix('[').and_then(|name| name.split_once(']')) {
            table = name.trim_start_matches('[').split('.').collect();
        } else if commented && let Ok(key) = parse(bare) {
            // An empty line of a comment is TOML, too.
            if key.as_object().is_some_and(|key| !key.is_empty()) {
                comments.push(table.iter().rfold(key, |inner, name| json!({ *name: inner })));
            }
        }
    }
    (parse(text).expect("a sample is TOML"), comments)
}

/// The ways in which a value may be meant.
fn alternatives(schema: &Value) -> Vec<&Value> {
    let further = ["anyOf", "oneOf"].into_iter().filter_map(|name| schema[name].as_array());
    let mut all = vec![schema];
    all.extend(further.flatten().flat_map(alternatives));
    all
}

/// What the values of a table have in common whose names are free.
fn values_by_name(schema: &Value) -> impl Iterator<Item = &Value> {
    let patterns = schema["patternProperties"].as_object().into_iter().flat_map(|all| all.values());
    patterns.chain(Some(&schema["additionalProperties"]).filter(|of| of.is_object()))
}

/// Every key, with `*` for names that are free.
fn keys(schema: &Value, path: &[&str], into: &mut BTreeSet<String>) {
    for one in alternatives(schema) {
        if one["items"].is_object() {
            keys(&one["items"], path, into);
        }
        for value in values_by_name(one) {
            keys(value, &[path, &["*"]].concat(), into);
        }
        for (name, value) in one["properties"].as_object().into_iter().flatten() {
            let path = [path, &[&**name]].concat();
            into.insert(path.join("."));
            keys(value, &path, into);
        }
    }
}

/// Whether `key` is in a sample.
fn shows(sample: &Value, key: &str) -> bool {
    if let Some(items) = sample.as_array() {
        return items.iter().any(|item| shows(item, key));
    }
    let (name, rest) = key.split_once('.').map_or((key, None), |(name, rest)| (name, Some(rest)));
    let inside = |value: &Value| rest.is_none_or(|rest| shows(value, rest));
    match name {
        "*" => sample.as_object().is_some_and(|table| table.values().any(inside)),
        name => sample.get(name).is_some_and(inside),
    }
}

/// Whether everything in a sample is a key.
fn knows(schema: &Value, sample: &Value) -> bool {
    alternatives(schema).into_iter().any(|one| match sample {
        Value::Array(items) => items.iter().all(|item| knows(&one["items"], item)),
        // A line below `[[...]]`.
        Value::Object(_) if one["items"].is_object() => knows(&one["items"], sample),
        Value::Object(table) => table.iter().all(|(name, value)| {
            let named = one["properties"].get(name);
            named.into_iter().chain(values_by_name(one)).any(|schema| knows(schema, value))
        }),
        _ => one["type"] != "object" && one["type"] != "array",
    })
}

#[test]
fn every_key_has_a_sample() {
    let configs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let services = ["api.toml", "worker.toml"].map(|name| configs.join("services").join(name));
    let (manager, data_plane): (Vec<_>, Vec<_>) = samples()
        .into_iter()
        .partition(|path| path.file_stem().is_some_and(|name| name == "manager"));
    for (schema, samples) in [
        (bs9_config::json_schema(), data_plane),
        (bs9_config::manager_json_schema(), manager),
        (bs9_config::service_json_schema(), services.to_vec()),
    ] {
        let mut all = Vec::new();
        for path in samples {
            let text = fs::read_to_string(&path).expect("a sample");
            let (whole, comments) = shown(&text);
            for key in comments.iter().chain([&whole]) {
                assert!(knows(&schema, key), "{}: no such key: {key}", path.display());
            }
            all.push(whole);
            all.extend(comments);
        }
        let mut wanted = BTreeSet::new();
        keys(&schema, &[], &mut wanted);
        assert!(wanted.len() > 40, "{} keys", wanted.len());
        let without: Vec<_> =
            wanted.iter().filter(|key| !all.iter().any(|sample| shows(sample, key))).collect();
        assert!(without.is_empty(), "without a sample in {}: {without:#?}", schema["title"]);
    }
}
