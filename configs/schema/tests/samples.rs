//! Every sample in `configs` is valid, and says so without a warning.

use std::{
    fs,
    path::{Path, PathBuf},
};

use authority::Authority;

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
