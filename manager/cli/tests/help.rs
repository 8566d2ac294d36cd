//! What the command line says about itself.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use fixture::bs9;

#[test]
fn help_teaches() {
    let verbs: [&[&str]; 50] = [
        &[],
        &["serve"],
        &["manager"],
        &["check"],
        &["status"],
        &["loadbalancer"],
        &["loadbalancer", "start"],
        &["loadbalancer", "status"],
        &["loadbalancer", "config"],
        &["loadbalancer", "add"],
        &["loadbalancer", "remove"],
        &["loadbalancer", "drain"],
        &["loadbalancer", "weight"],
        &["loadbalancer", "reload"],
        &["dbpool"],
        &["dbpool", "start"],
        &["dbpool", "stats"],
        &["dbpool", "test"],
        &["quickstart"],
        &["completions"],
        &["install"],
        &["uninstall"],
        &["man"],
        &["loadtest"],
        &["lb", "add"],
        &["start"],
        &["stop"],
        &["restart"],
        &["reload"],
        &["scale"],
        &["delete"],
        &["list"],
        &["logs"],
        &["inspect"],
        &["apply"],
        &["save"],
        &["resurrect"],
        &["doctor"],
        &["metrics"],
        &["export"],
        &["events"],
        &["audit"],
        &["audit", "list"],
        &["audit", "verify"],
        &["audit", "export"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["help"],
    ];
    for verb in verbs {
        for flag in ["-h", "--help"] {
            let said = match verb {
                // It takes the verb to help with, not a flag.
                ["help"] => bs9(["help"]).ok(),
                verb => bs9(verb.iter().copied().chain([flag])).ok(),
            };
            assert!(said.contains("Usage: bs9"), "{verb:?} {flag}: {said}");
        }
    }
}

#[test]
fn the_first_page() {
    insta::assert_snapshot!(bs9(["-h"]).ok());
}

#[test]
fn familiar_flags_of_the_load_balancer() {
    insta::assert_snapshot!(bs9(["loadbalancer", "start", "-h"]).ok());
}

#[test]
fn familiar_flags_of_the_pool() {
    insta::assert_snapshot!(bs9(["dbpool", "test", "-h"]).ok());
}

#[test]
fn familiar_flags_of_services() {
    insta::assert_snapshot!(bs9(["start", "-h"]).ok());
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
