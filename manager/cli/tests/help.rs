//! What the command line says about itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::{bs9, commands};

#[test]
fn every_command_says_how_it_is_used() {
    let commands = commands();
    assert!(commands.len() > 45, "{commands:#?}");
    for command in &commands {
        let words = || command.iter().map(String::as_str);
        let short = bs9(words().chain(["-h"])).ok();
        assert!(short.contains("Usage: bs9"), "{command:?}: {short}");
        let name = ["bs9"].into_iter().chain(words()).collect::<Vec<_>>().join("_");
        insta::assert_snapshot!(name, bs9(words().chain(["--help"])).ok());
    }
    assert!(bs9(["help"]).ok().contains("Usage: bs9"));
    assert_eq!(bs9(["lb", "add", "-h"]).ok(), bs9(["loadbalancer", "add", "-h"]).ok());
}

#[test]
fn shells_get_completions() {
    for (shell, word) in [("bash", "_bs9()"), ("zsh", "#compdef bs9"), ("fish", "complete -c bs9")]
    {
        let script = bs9(["completions", shell]).ok();
        assert!(script.contains(word), "{shell}");
        assert!(script.contains("quickstart"), "{shell}");
    }
}

#[test]
fn the_version_is_the_crates() {
    assert_eq!(bs9(["--version"]).ok(), format!("bs9 {}\n", env!("CARGO_PKG_VERSION")));
}
