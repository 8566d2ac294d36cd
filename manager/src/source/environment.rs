//! Rules about a service's environment and the files it comes from.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use bs9_api::types::{SourceFinding, SourceSeverity};
use bs9_config::Service;

use super::{
    place::{self, Runner},
    secret, whole,
};

/// Bytes of an environment file that are read at most.
const MAX_BYTES: u64 = 1 << 20;

/// Looks at the description, when there is one on disk, and at environment files.
pub(super) fn look(
    service: &Service,
    definition: Option<(&Path, &str)>,
    runner: Runner,
    told: &mut BTreeSet<PathBuf>,
) -> Vec<SourceFinding> {
    let mut found = Vec::new();
    if let Some((path, text)) = definition {
        found.extend(place::writable(path, runner, told).into_iter().map(whole));
        found.extend(in_definition(path, text));
    }
    for file in &service.environment_files {
        found.extend(place::writable(file, runner, told).into_iter().map(whole));
        let short = fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
        let text = short.then(|| fs::read_to_string(file).ok()).flatten().unwrap_or_default();
        if text.lines().any(|line| assigned(line).is_some_and(is_secret)) {
            found.extend(place::readable(file).map(whole));
        }
    }
    found
}

/// `NAME=value` of an environment file.
fn assigned(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
    Some((name.trim(), value.trim().trim_matches(['"', '\''])))
}

fn is_secret((name, value): (&str, &str)) -> bool {
    secret::kind(value).is_some() || secret::looks_secret(name, value)
}

/// Secrets that stand in the description itself, which is meant to be kept by git.
fn in_definition(path: &Path, text: &str) -> Vec<SourceFinding> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let Some((name, value)) = assigned(line) else { continue };
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
        if value.starts_with("env:") || value.starts_with("file:") || !is_secret((name, value)) {
            continue;
        }
        found.push(SourceFinding {
            rule: "secret-in-description".to_owned(),
            severity: SourceSeverity::Warning,
            file: path.display().to_string(),
            line: Some(number),
            column: Some(1),
            message: format!("`{name}` is given a secret as it is"),
            hint: format!(
                "write {name} = \"env:NAME\" or \"file:PATH\", or put it in a file of \
                 `environment_files` with mode 600"
            ),
            accepted: false,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_of_the_description_are_told_by_line_and_never_shown() {
        let text = "port = 1\n[environment]\nAPI_KEY = \"q8Zr2Lw9XcV4bN7m\"\nNAME = \"x\"\n\
                    B_TOKEN = \"env:B_TOKEN\"\nC = \"postgres://a:hJ9kL1mN3p@db/x\"\n";
        let found = in_definition(Path::new("/s/api.toml"), text);
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(3), Some(6)]);
        assert!(found.iter().all(|f| !f.message.contains("q8Zr") && !f.message.contains("hJ9k")));
    }

    #[test]
    fn environment_files_with_secrets_are_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".env");
        let definition = "command = [\"x\"]\nenvironment_files = [\".env\"]";
        let service = bs9_config::parse_service(&folder.path().join("a.toml"), definition).unwrap();
        let rules = |text: &str, mode: u32| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let found = look(&service, None, Runner { uid: None }, &mut BTreeSet::new());
            found.into_iter().map(|finding| finding.rule).collect::<Vec<_>>()
        };
        let secret = "# c\nDB_PASSWORD='q8Zr2Lw9XcV4bN7m'\n";
        assert_eq!(rules(secret, 0o644), ["secrets-readable-by-others"]);
        assert_eq!(rules(secret, 0o600), [""; 0]);
        assert_eq!(rules("LEVEL=info\n", 0o644), [""; 0]);
        assert_eq!(rules("LEVEL=info\n", 0o646), ["writable-by-others"]);
    }
}
