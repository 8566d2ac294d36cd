//! Every sample in `configs` is valid, and says so without a warning.

use std::{fs, path::PathBuf};

fn samples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = fs::read_dir(folder).expect("the folder of samples");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect()
}

#[test]
fn every_sample_is_valid() {
    let samples = samples();
    assert!(samples.len() >= 5, "found only {samples:?}");
    for path in samples {
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
        postgres
    };
    assert_eq!(without_names(postgres), without_names(bare));
}
