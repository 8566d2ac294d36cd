//! Languages whose source is audited.

use std::path::Path;

/// A language, by how it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// JavaScript and TypeScript.
    JavaScript,
    Python,
    Shell,
}

impl Language {
    /// By a file's ending, or by the first line of one without.
    pub(super) fn of(path: &Path, text: &str) -> Option<Self> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx") => {
                Some(Self::JavaScript)
            }
            Some("py") => Some(Self::Python),
            Some("sh" | "bash") => Some(Self::Shell),
            Some(_) => None,
            None => Self::of_shebang(text.lines().next()?),
        }
    }

    fn of_shebang(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("#!")?.split_whitespace();
        let program = words.next()?.rsplit('/').next()?;
        let program = match program {
            "env" => words.find(|word| !word.starts_with('-'))?,
            other => other,
        };
        match program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
            "node" | "bun" | "deno" | "tsx" | "ts-node" => Some(Self::JavaScript),
            "python" => Some(Self::Python),
            "sh" | "bash" | "dash" | "ksh" | "zsh" => Some(Self::Shell),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_ending_or_first_line() {
        let cases = [
            ("a.ts", "", Some(Language::JavaScript)),
            ("a.py", "", Some(Language::Python)),
            ("a.sh", "", Some(Language::Shell)),
            ("a.rb", "#!/bin/sh", None),
            ("run", "#!/usr/bin/env -S node --x\n", Some(Language::JavaScript)),
            ("run", "#!/usr/bin/python3.11\n", Some(Language::Python)),
            ("run", "#!/bin/bash\n", Some(Language::Shell)),
            ("run", "\x7fELF", None),
        ];
        for (path, text, expected) in cases {
            assert_eq!(Language::of(Path::new(path), text), expected, "{path} {text}");
        }
    }
}
