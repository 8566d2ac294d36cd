//! Who may import whom, and with which versions: docs/ARCHITECTURE.md, checked.
//!
//! Development dependencies count: a crate whose tests need a forbidden crate
//! is as tangled as one whose code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand};
use toml_edit::{DocumentMut, Item, TableLike, Value};

/// Each crate, and the crates of ours it may import. `bs9` and `bs9-bench`
/// may import any of the others; nobody imports them or `bs9-loadtest`, apart
/// from the binary that composes everything.
const EDGES: &[(&str, &[&str])] = &[
    ("bs9-wire", &[]),
    ("bs9-config", &[]),
    ("bs9-api", &["bs9-config"]),
    ("bs9-net", &["bs9-config"]),
    ("bs9-proxy", &["bs9-net", "bs9-config", "bs9-api"]),
    ("bs9-pool", &["bs9-wire", "bs9-net", "bs9-config", "bs9-api"]),
    ("bs9-manager", &["bs9-api", "bs9-config"]),
    ("bs9-loadtest", &["bs9-api", "bs9-wire"]),
    ("bs9-bench", PARTS),
    ("bs9", ALL_BUT_BENCH),
];

const PARTS: &[&str] =
    &["bs9-wire", "bs9-config", "bs9-api", "bs9-net", "bs9-proxy", "bs9-pool", "bs9-manager"];

const ALL_BUT_BENCH: &[&str] = &[
    "bs9-wire",
    "bs9-config",
    "bs9-api",
    "bs9-net",
    "bs9-proxy",
    "bs9-pool",
    "bs9-manager",
    "bs9-loadtest",
];

#[test]
fn crates_import_only_whom_they_may() {
    let metadata = metadata();
    let members: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, known, "the table of edges and the workspace list different crates");

    let mut forbidden = Vec::new();
    for package in metadata.workspace_packages() {
        let (_, allowed) = EDGES
            .iter()
            .find(|(name, _)| *name == package.name.as_str())
            .expect("the names were just compared");
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            // A crate's own tests may name the crate itself.
            let own = name == package.name.as_str();
            if members.contains(name) && !own && !allowed.contains(&name) {
                let kind = dependency.kind;
                forbidden.push(format!("{} imports {name} ({kind} dependency)", package.name));
            }
        }
    }
    assert!(forbidden.is_empty(), "{forbidden:#?}");
}

/// Read from the lock file: cargo itself would want crates for other platforms, which a
/// build never downloads.
#[test]
fn direct_dependencies_have_one_version_each() {
    let lock = parse(&root().join("Cargo.lock"));
    let packages = lock["package"].as_array_of_tables().expect("a lock file lists packages");
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // Only the workspace's own crates come from nowhere.
    for package in packages.iter().filter(|package| !package.contains_key("source")) {
        let dependencies = package.get("dependencies").and_then(Item::as_array);
        for dependency in dependencies.into_iter().flatten().filter_map(Value::as_str) {
            // `name`, or `name version` when the lock file has several versions of it.
            let name = dependency.split(' ').next().unwrap_or(dependency);
            versions.entry(name).or_default().insert(dependency);
        }
    }
    assert!(versions.contains_key("tokio"), "direct dependencies are found: {versions:#?}");
    versions.retain(|_, found| found.len() > 1);
    assert!(versions.is_empty(), "several versions of one direct dependency: {versions:#?}");
}

#[test]
fn versions_are_chosen_in_the_root_manifest_only() {
    let metadata = metadata();
    let mut own_versions = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.as_std_path();
        for (table, dependencies) in dependency_tables(&parse(manifest)) {
            for name in dependencies {
                own_versions.push(format!("{}: [{table}] {name}", package.name));
            }
        }
    }
    assert!(own_versions.is_empty(), "not `workspace = true`: {own_versions:#?}");
}

/// What cargo knows of the workspace's own crates.
fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    command.other_options(vec!["--offline".into()]).no_deps();
    command.exec().expect("cargo describes the workspace it has just built this test from")
}

/// Names in each dependency table of a manifest that do not inherit from the workspace.
fn dependency_tables(manifest: &DocumentMut) -> Vec<(String, Vec<String>)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables: Vec<(String, &dyn TableLike)> = Vec::new();
    for kind in KINDS {
        tables.extend(table(manifest.get(kind)).map(|t| (kind.to_owned(), t)));
    }
    for (target, item) in table(manifest.get("target")).into_iter().flat_map(TableLike::iter) {
        for kind in KINDS {
            tables.extend(table(item.get(kind)).map(|t| (format!("target.{target}.{kind}"), t)));
        }
    }
    tables
        .into_iter()
        .map(|(name, table)| {
            let own = table.iter().filter(|(_, item)| !inherits(item));
            (name, own.map(|(dependency, _)| dependency.to_owned()).collect())
        })
        .collect()
}

fn table(item: Option<&Item>) -> Option<&dyn TableLike> {
    item?.as_table_like()
}

fn inherits(item: &Item) -> bool {
    item.get("workspace").and_then(Item::as_bool) == Some(true)
}

fn parse(manifest: &Path) -> DocumentMut {
    let text = fs::read_to_string(manifest).expect("cargo has read this file");
    text.parse().expect("cargo has parsed this file")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
