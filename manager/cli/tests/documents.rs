//! What README.md, docs/OPERATIONS.md and docs/MIGRATING.md show works as it stands there.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{fs, path::Path};

use fixture::{DataPlane, bs9, eventually, get, origin::Origin, program, write};

const DOCUMENTS: [&str; 3] = ["README.md", "docs/OPERATIONS.md", "docs/MIGRATING.md"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn text(document: &str) -> String {
    fs::read_to_string(root().join(document)).unwrap()
}

/// The blocks of a document in one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}");
    let mut blocks = Vec::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        match &mut current {
            None if line == opening => current = Some(String::new()),
            None => {}
            Some(_) if line == "```" => blocks.extend(current.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

#[test]
fn every_configuration_is_valid() {
    let mut found = 0;
    for document in DOCUMENTS {
        for block in blocks(&text(document), "toml") {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("bs9.toml");
            write(&file, &block);
            let mut check = program();
            check.arg("check").arg(&file).env("APP_DB_PASSWORD", "secret");
            fixture::Outcome::of(check.output().unwrap()).ok();
            found += 1;
        }
    }
    assert_eq!(found, 2, "the reverse proxy and the pool");
}

#[test]
fn every_command_is_one() {
    let mut found = 0;
    for document in DOCUMENTS {
        for block in blocks(&text(document), "sh") {
            for line in block.lines().filter_map(|line| line.strip_prefix("bs9 ")) {
                let command = line.split(" #").next().unwrap_or(line);
                // Help comes last: whatever stands before it has to be understood.
                let words = command.split_whitespace().chain(["--help"]);
                bs9(words).ok();
                found += 1;
            }
        }
    }
    assert!(found > 10, "{found} commands");
}

/// Commands between single backquotes.
fn inline_commands(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("bs9 "))
}

#[test]
fn what_a_command_has_become_is_one() {
    let text = text("docs/MIGRATING.md");
    let mut found = 0;
    for line in text.lines() {
        // What it was stands in the first cell.
        let now = line
            .strip_prefix("| ")
            .map_or(line, |row| row.split_once(" | ").map_or(row, |(_, now)| now));
        for command in inline_commands(now) {
            // What follows is the service's own.
            let own = command.split(" -- ").next().unwrap_or(command);
            bs9(own.split_whitespace().chain(["--help"])).ok();
            found += 1;
        }
    }
    assert!(found > 100, "{found} commands");
}

#[test]
fn every_link_leads_somewhere() {
    for document in DOCUMENTS {
        let (text, base) = (text(document), root().join(document));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("https://") {
                let file = link.split('#').next().unwrap_or(link);
                assert!(base.parent().unwrap().join(file).exists(), "{document}: {link}");
            }
        }
    }
}

#[test]
fn the_reverse_proxy_and_its_commands() {
    let (one, two, three) = (Origin::start("one"), Origin::start("two"), Origin::start("three"));
    let readme = text("README.md");
    let config = blocks(&readme, "toml").remove(0);
    let actual = [
        ("0.0.0.0:8080", "127.0.0.1:0".to_owned()),
        ("127.0.0.1:9901", "127.0.0.1:0".to_owned()),
        ("127.0.0.1:3001", one.address.to_string()),
        ("127.0.0.1:3002", two.address.to_string()),
        ("127.0.0.1:3003", three.address.to_string()),
    ];
    let here =
        |text: &str| actual.iter().fold(text.to_owned(), |text, (was, is)| text.replace(was, is));
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("bs9.toml"), &here(&config));
    let data_plane = DataPlane::serve_in(folder, "bs9.toml");
    let web = data_plane.running.address("web");
    eventually("the endpoints are healthy", || (get(web, "/api/").status == 200).then_some(()));
    assert_eq!(get(web, "/").body, "nothing here\n");

    let commands = blocks(&readme, "sh")
        .into_iter()
        .find(|block| block.contains("loadbalancer add"))
        .expect("the README shows how to change a running data plane");
    let socket = data_plane.running.socket.to_str().unwrap();
    for line in commands.lines() {
        let line = here(line.strip_prefix("bs9 ").unwrap()).replace("dataplane.sock", socket);
        bs9(line.split_whitespace()).ok();
    }
}
