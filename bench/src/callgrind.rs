//! Counts the instructions of a case: this program runs itself under valgrind.

use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The function whose inclusive cost is counted: see [`crate::case`].
const COUNTED: &str = "*bs9_guard::case::counted*";

/// All instructions executed within the counted function.
pub(crate) fn count(case: &str) -> anyhow::Result<u64> {
    let own = std::env::current_exe().context("finding the path of this program")?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg("--callgrind-out-file=/dev/null")
        .arg(own)
        .args(["run", case])
        .output()
        .context("running valgrind (Debian: valgrind)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind failed ({}):\n{said}", output.status);
    }
    let count = collected(&said).with_context(|| format!("valgrind named no count:\n{said}"))?;
    ensure!(count > 0, "nothing was counted: is {COUNTED} in this binary?");
    Ok(count)
}

/// valgrind's version.
pub(crate) fn version() -> anyhow::Result<String> {
    let output = Command::new("valgrind")
        .arg("--version")
        .output()
        .context("running valgrind (Debian: valgrind)")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// From `==123== Collected : 4567`.
fn collected(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_what_valgrind_says() {
        let text = "==7== Events    : Ir\n==7== Collected : 391826\n==7== \n";
        assert_eq!(collected(text), Some(391_826));
        assert_eq!(collected("==7== Collected : \n"), None);
    }
}
