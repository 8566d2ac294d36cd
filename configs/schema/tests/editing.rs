//! Changing the files a person edits.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use bs9_config::{
    EndpointAddress,
    edit::{EditError, add_endpoint, remove_endpoint, set_disabled, set_weight},
    load,
};

/// A folder with one configuration.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("bs9.toml"), text).expect("written");
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bs9.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("readable")
    }

    fn generation(&self, number: u32) -> Option<String> {
        fs::read_to_string(self.folder.path().join(format!("bs9.toml.~{number}~"))).ok()
    }

    fn files(&self) -> usize {
        fs::read_dir(self.folder.path()).expect("readable").count()
    }
}

fn address(text: &str) -> EndpointAddress {
    text.parse().expect("an address")
}

const LINES: &str = "\
# what this is for
[clusters.api]                # inline comment
endpoints = [
    \"127.0.0.1:1\",            # first
    # about the second
    { address = \"127.0.0.1:2\", weight = 3 }, # second
    \"127.0.0.1:3\",            # third
]
balance   =   \"p2c\"         # spaced oddly
";

#[test]
fn adding_keeps_comments_on_their_lines() {
    let fixture = Fixture::new(LINES);
    add_endpoint(&fixture.path(), "api", &address("db.internal:4"), 5).expect("added");
    let expected =
        LINES.replace("# third\n", "# third\n    { address = \"db.internal:4\", weight = 5 },\n");
    assert_eq!(fixture.text(), expected);
    remove_endpoint(&fixture.path(), "api", &address("db.internal:4")).expect("removed");
    assert_eq!(fixture.text(), LINES);
}

#[test]
fn removing_takes_the_comment_of_the_line_along() {
    for (gone, line) in [
        ("127.0.0.1:1", "    \"127.0.0.1:1\",            # first\n"),
        ("127.0.0.1:2", "    { address = \"127.0.0.1:2\", weight = 3 }, # second\n"),
        ("127.0.0.1:3", "    \"127.0.0.1:3\",            # third\n"),
    ] {
        let fixture = Fixture::new(LINES);
        remove_endpoint(&fixture.path(), "api", &address(gone)).expect("removed");
        assert_eq!(fixture.text(), LINES.replace(line, ""), "{gone}");
    }
}

#[test]
fn a_list_without_a_comma_at_its_end() {
    let text = "[clusters.api]\nendpoints = [\n    \"127.0.0.1:1\", # first\n    \"127.0.0.1:2\" # second\n]\n";
    let fixture = Fixture::new(text);
    add_endpoint(&fixture.path(), "api", &address("127.0.0.1:3"), 1).expect("added");
    let added = text
        .replace("\"127.0.0.1:2\" # second\n", "\"127.0.0.1:2\", # second\n    \"127.0.0.1:3\"\n");
    assert_eq!(fixture.text(), added);
    remove_endpoint(&fixture.path(), "api", &address("127.0.0.1:3")).expect("removed");
    remove_endpoint(&fixture.path(), "api", &address("127.0.0.1:2")).expect("removed");
    assert_eq!(fixture.text(), "[clusters.api]\nendpoints = [\n    \"127.0.0.1:1\" # first\n]\n");
}

#[test]
fn other_ways_to_write_endpoints() {
    for (before, after) in [
        ("[clusters.api]\n", "[clusters.api]\nendpoints = [\"127.0.0.1:9\"]\n"),
        ("[clusters.api]\nendpoints = []\n", "[clusters.api]\nendpoints = [\"127.0.0.1:9\"]\n"),
        (
            "[clusters.api]\nendpoints = [\"a:1\"]\n",
            "[clusters.api]\nendpoints = [\"a:1\", \"127.0.0.1:9\"]\n",
        ),
        (
            "clusters = { api = { endpoints = [\"a:1\"] } } # all\n",
            "clusters = { api = { endpoints = [\"a:1\", \"127.0.0.1:9\"] } } # all\n",
        ),
        (
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n",
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n\n[[clusters.api.endpoints]]\naddress = \"127.0.0.1:9\"\n",
        ),
    ] {
        let fixture = Fixture::new(before);
        add_endpoint(&fixture.path(), "api", &address("127.0.0.1:9"), 1).expect(before);
        assert_eq!(fixture.text(), after);
        set_weight(&fixture.path(), "api", &address("127.0.0.1:9"), 7).expect(before);
        let config = load(&fixture.path()).expect("valid");
        let endpoint = config.clusters["api"].endpoints.last().expect("an endpoint");
        assert_eq!((endpoint.address.to_string().as_str(), endpoint.weight), ("127.0.0.1:9", 7));
        remove_endpoint(&fixture.path(), "api", &address("127.0.0.1:9")).expect(before);
        assert_eq!(
            load(&fixture.path()).expect("valid").clusters["api"].endpoints.len(),
            before.matches("a:1").count()
        );
    }
}

#[test]
fn weights_in_place() {
    let fixture = Fixture::new(LINES);
    set_weight(&fixture.path(), "api", &address("127.0.0.1:2"), 9).expect("set");
    set_weight(&fixture.path(), "api", &address("127.0.0.1:1"), 0).expect("set");
    set_weight(&fixture.path(), "api", &address("127.0.0.1:3"), 1).expect("set");
    let expected = LINES
        .replace("weight = 3", "weight = 9")
        .replace("    \"127.0.0.1:1\",", "    { address = \"127.0.0.1:1\", weight = 0 },");
    assert_eq!(fixture.text(), expected);
}

#[test]
fn disabled_and_enabled_in_place() {
    let fixture = Fixture::new(LINES);
    set_disabled(&fixture.path(), "api", &address("127.0.0.1:1"), true).expect("disabled");
    set_disabled(&fixture.path(), "api", &address("127.0.0.1:2"), true).expect("disabled");
    let spelled = LINES.replace("\"127.0.0.1:1\",", "{ address = \"127.0.0.1:1\" },");
    let both = spelled
        .replace("\"127.0.0.1:1\" }", "\"127.0.0.1:1\", disabled = true }")
        .replace("weight = 3 }", "weight = 3, disabled = true }");
    assert_eq!(fixture.text(), both);
    let config = load(&fixture.path()).expect("valid");
    let states: Vec<_> = config.clusters["api"].endpoints.iter().map(|e| e.disabled).collect();
    assert_eq!(states, [true, true, false]);
    // Done twice it is done once; a weight stands beside it.
    set_disabled(&fixture.path(), "api", &address("127.0.0.1:2"), true).expect("disabled");
    assert_eq!(fixture.text(), both);
    set_weight(&fixture.path(), "api", &address("127.0.0.1:1"), 5).expect("set");
    assert_eq!(
        fixture.text(),
        both.replace("1\", disabled = true }", "1\", disabled = true, weight = 5 }")
    );
    set_weight(&fixture.path(), "api", &address("127.0.0.1:1"), 1).expect("set");
    for endpoint in ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"] {
        set_disabled(&fixture.path(), "api", &address(endpoint), false).expect("enabled");
    }
    let enabled = spelled.replace("\"127.0.0.1:1\" }", "\"127.0.0.1:1\", weight = 1 }");
    assert_eq!(fixture.text(), enabled);
}

/// Before, when it is disabled, and when it is enabled again.
#[test]
fn comments_and_layout_around_a_key_stay() {
    for (before, disabled, enabled) in [
        (
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n\n[runtime]\n",
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\ndisabled = true\n\n[runtime]\n",
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n\n[runtime]\n",
        ),
        (
            "[[clusters.api.endpoints]]\n# the disk\ndisabled = false # broken\naddress = \"a:1\"\n",
            "[[clusters.api.endpoints]]\n# the disk\ndisabled = true # broken\naddress = \"a:1\"\n",
            "[[clusters.api.endpoints]]\n# the disk\naddress = \"a:1\"\n",
        ),
        (
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n# the disk\ndisabled = true\n",
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n# the disk\ndisabled = true\n",
            "[[clusters.api.endpoints]]\naddress = \"a:1\" # one\n# the disk\n",
        ),
        (
            "[clusters.api]\nendpoints = [{address=\"a:1\"}]\n",
            "[clusters.api]\nendpoints = [{address=\"a:1\", disabled = true}]\n",
            "[clusters.api]\nendpoints = [{address=\"a:1\"}]\n",
        ),
        (
            "[clusters.api]\nendpoints = [{ disabled = false, address = \"a:1\" }]\n",
            "[clusters.api]\nendpoints = [{ disabled = true, address = \"a:1\" }]\n",
            "[clusters.api]\nendpoints = [{ address = \"a:1\" }]\n",
        ),
        (
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  weight = 2 # two\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  weight = 2, # two\n  disabled = true\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  weight = 2 # two\n}]\n",
        ),
        (
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  disabled = true,\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n}]\n",
        ),
        (
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  disabled = false, # broken\n  weight = 2,\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  disabled = true, # broken\n  weight = 2,\n}]\n",
            "[clusters.api]\nendpoints = [{\n  address = \"a:1\", # one\n  weight = 2,\n}]\n",
        ),
    ] {
        let fixture = Fixture::new(before);
        set_disabled(&fixture.path(), "api", &address("a:1"), true).expect(before);
        assert_eq!(fixture.text(), disabled);
        set_disabled(&fixture.path(), "api", &address("a:1"), false).expect(before);
        assert_eq!(fixture.text(), enabled);
        assert!(!load(&fixture.path()).expect("valid").clusters["api"].endpoints[0].disabled);
    }
}

#[test]
fn relative_sockets_are_found() {
    let fixture = Fixture::new("[clusters.api]\nendpoints = [\"unix:run/a.sock\"]\n");
    let socket = load(&fixture.path()).expect("valid").clusters["api"].endpoints[0].address.clone();
    set_weight(&fixture.path(), "api", &socket, 2).expect("set");
    assert!(
        fixture.text().contains("{ address = \"unix:run/a.sock\", weight = 2 }"),
        "{}",
        fixture.text()
    );
}

#[test]
fn earlier_texts_are_kept_but_not_all() {
    let fixture = Fixture::new("[clusters.api]\nendpoints = [\"a:1\"]\n");
    for weight in 2..=9 {
        set_weight(&fixture.path(), "api", &address("a:1"), weight).expect("set");
    }
    let latest = fixture.generation(1).expect("the text before");
    assert!(latest.contains("weight = 8"), "{latest}");
    assert!(fixture.generation(5).expect("the oldest").contains("weight = 4"));
    assert_eq!((fixture.generation(6), fixture.files()), (None, 6));
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let fixture = Fixture::new(LINES);
    let path = fixture.path();
    let present = address("127.0.0.1:1");
    let errors = [
        add_endpoint(&path, "api", &present, 1),
        add_endpoint(&path, "apj", &present, 1),
        remove_endpoint(&path, "api", &address("127.0.0.1:9")),
        set_weight(&path, "api", &address("127.0.0.1:9"), 1),
        set_disabled(&path, "api", &address("127.0.0.1:9"), true),
    ];
    let shown: Vec<_> =
        errors.into_iter().map(|result| result.expect_err("refused").to_string()).collect();
    assert_eq!(
        shown,
        [
            "the cluster `api` already has the endpoint `127.0.0.1:1`",
            "there is no cluster `apj`; did you mean `api`?",
            "the cluster `api` has no endpoint `127.0.0.1:9`",
            "the cluster `api` has no endpoint `127.0.0.1:9`",
            "the cluster `api` has no endpoint `127.0.0.1:9`",
        ]
    );
    assert_eq!((fixture.text().as_str(), fixture.files()), (LINES, 1));
    assert!(matches!(
        set_weight(Path::new("/nonexistent"), "a", &present, 1),
        Err(EditError::Write { .. })
    ));
}

#[test]
fn an_invalid_file_is_left_alone() {
    for text in ["[clusters.api]\nendpoints = [\"a:1\"]\nbalance = \"x\"\n", "[clusters.api\n"] {
        let fixture = Fixture::new(text);
        let result = add_endpoint(&fixture.path(), "api", &address("a:2"), 1);
        assert!(matches!(result, Err(EditError::Invalid(_))));
        assert_eq!((fixture.text().as_str(), fixture.files()), (text, 1));
    }
}

#[test]
fn in_a_folder_only_the_file_that_holds_the_cluster_changes() {
    let fixture = Fixture::new("[runtime]\nshards = 1 # one\n");
    let other = fixture.folder.path().join("clusters.toml");
    fs::write(&other, "[clusters.api] # here\n").expect("written");
    add_endpoint(fixture.folder.path(), "api", &address("a:1"), 1).expect("added");
    assert_eq!(fixture.text(), "[runtime]\nshards = 1 # one\n");
    let text = fs::read_to_string(&other).expect("readable");
    assert_eq!(text, "[clusters.api] # here\nendpoints = [\"a:1\"]\n");
}

#[test]
fn mode_and_links_stay() {
    let fixture = Fixture::new("[clusters.api]\n");
    fs::set_permissions(fixture.path(), fs::Permissions::from_mode(0o640)).expect("mode set");
    let link = fixture.folder.path().join("link");
    symlink(fixture.path(), &link).expect("linked");
    add_endpoint(&link, "api", &address("a:1"), 1).expect("added");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(fixture.text().contains("a:1"));
    let mode = fs::metadata(fixture.path()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
