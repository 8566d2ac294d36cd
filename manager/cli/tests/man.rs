//! The manual pages: one for each command, without a fault.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::{fs, process::Command};

use fixture::{Outcome, bs9, commands};

#[test]
fn every_command_has_a_page_that_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    bs9(["man", "--dir", pages.to_str().unwrap()]).ok();
    let commands = commands();
    assert!(commands.len() > 45, "{commands:#?}");
    for command in &commands {
        let name =
            format!("bs9{}", command.iter().map(|word| format!("-{word}")).collect::<String>());
        let page = pages.join(format!("{name}.1"));
        assert!(page.exists(), "{name} has no page");
        // Beyond a warning: what a reader would not see as it is meant.
        let mut lint = Command::new("mandoc");
        let outcome =
            Outcome::of(lint.args(["-T", "lint", "-W", "error"]).arg(&page).output().unwrap());
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:#?}");
        let mut shown = Command::new("mandoc");
        let text = Outcome::of(shown.args(["-T", "ascii"]).arg(&page).output().unwrap()).ok();
        assert!(text.to_lowercase().contains(&name), "{text}");
    }
    assert_eq!(fs::read_dir(&pages).unwrap().count(), commands.len(), "and no other page");
}

#[test]
fn one_page_is_printed() {
    assert!(bs9(["man", "loadbalancer", "add"]).ok().contains("bs9\\-loadbalancer\\-add"));
    assert!(bs9(["man"]).ok().contains(".TH"));
    bs9(["man", "frobnicate"]).fails(3);
}
