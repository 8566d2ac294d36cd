//! A short soak, long enough for buffers to have grown to their size in the part of it that
//! is not watched: bs9 comes through, and the soak can tell when not.

use std::path::PathBuf;
use std::process::{Command, Output};

#[test]
fn some_seconds_of_everything_leave_nothing_behind() {
    let output = soak(&bs9());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("nothing grows"), "{said}");
    assert!(!said.contains("killed 0 times") && !said.contains(" 0 reloads"), "{said}");
}

#[test]
fn a_program_that_is_no_proxy_does_not_come_through() {
    let output = soak(&PathBuf::from("/bin/true"));
    assert!(!output.status.success());
}

fn soak(bs9: &std::path::Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bs9-bench"))
        .args(["soak", "--seconds", "15", "--binary"])
        .arg(format!("bs9={}", bs9.display()))
        .output()
        .expect("bs9-bench was built with this test")
}

/// The same build's bs9, beside this test's own program.
fn bs9() -> PathBuf {
    let bs9 = PathBuf::from(env!("CARGO_BIN_EXE_bs9-bench")).with_file_name("bs9");
    assert!(bs9.is_file(), "build it first: cargo build --bin bs9");
    bs9
}
