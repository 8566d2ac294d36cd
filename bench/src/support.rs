//! Whether a build of bs9 can do a row's work: `bs9 check` knows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// What bs9 says when a configuration is not valid.
const EXIT_CONFIG: i32 = 5;

/// Why this build of bs9 refuses `config`, if it does.
pub(crate) fn refusal(program: &Path, config: &Path) -> anyhow::Result<Option<String>> {
    let output = Command::new(program)
        .arg("check")
        .arg(config)
        .output()
        .with_context(|| format!("running {} check", program.display()))?;
    match output.status.code() {
        Some(0) => Ok(None),
        Some(EXIT_CONFIG) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Ok(Some(format!("not supported by this build ({})", first_error(&said))))
        }
        _ => bail!("bs9 check failed ({})", output.status),
    }
}

/// Whether this build's configuration knows a key with `word` in its name.
pub(crate) fn knows_key(program: &Path, word: &str) -> anyhow::Result<bool> {
    let output = Command::new(program)
        .args(["check", "--schema"])
        .output()
        .with_context(|| format!("running {} check --schema", program.display()))?;
    let schema: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading the schema of bs9 check")?;
    Ok(has_key(&schema, word))
}

fn has_key(schema: &serde_json::Value, word: &str) -> bool {
    match schema {
        serde_json::Value::Object(members) => {
            members.iter().any(|(key, value)| key.contains(word) || has_key(value, word))
        }
        serde_json::Value::Array(items) => items.iter().any(|item| has_key(item, word)),
        _ => false,
    }
}

/// The line that names the error, without what is drawn around it.
fn first_error(said: &str) -> &str {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next().map_or("bs9 check does not say why", |line| line.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_part_of_its_name() {
        let schema = serde_json::json!({ "properties": { "postgres": { "properties": {
            "max_prepared_statements": { "description": "not a cursor" } } } } });
        assert!(has_key(&schema, "prepared"));
        assert!(!has_key(&schema, "cursor"));
    }

    #[test]
    fn the_first_error_is_told() {
        let said = "\nerror: unknown key `tls`\n  --> bs9.toml:9:1\nerror: another\n";
        assert_eq!(first_error(said), "unknown key `tls`");
        assert_eq!(first_error(""), "bs9 check does not say why");
    }
}
