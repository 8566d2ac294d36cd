//! Which files a service's source consists of: the script, and what it takes in from beside
//! itself. What was installed (`node_modules`, `site-packages`) is not its own source.

use std::{
    collections::{BTreeSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use bs9_config::{Run, Service};
use regex::Regex;

use super::language::Language;

/// Files of one service at most.
const MAX_FILES: usize = 200;
/// Bytes of one file at most.
const MAX_BYTES: u64 = 1 << 20;

static JAVASCRIPT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"](\.{1,2}/[^'"\n]*)['"]"#)
});
static PYTHON: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)^[ \t]*(?:from[ \t]+(\.*[A-Za-z_][\w.]*|\.+)[ \t]+import[ \t]+\(?([^\n)]*)|import[ \t]+([^\n]+))",
    )
});
static SHELL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?m)^[ \t]*(?:\.|source)[ \t]+"?([^\s"';&|]+)"?"#));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is fixed, and tested")
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) language: Language,
}

/// The files of a service, its own first; and what was left out.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) files: Vec<SourceFile>,
    pub(super) left_out: Vec<String>,
}

impl Reach {
    pub(super) fn of(service: &Service) -> Self {
        let mut reach = Self::default();
        let mut next: VecDeque<PathBuf> = entry(service).into_iter().collect();
        let mut seen: BTreeSet<PathBuf> = next.iter().cloned().collect();
        while let Some(path) = next.pop_front() {
            if reach.files.len() == MAX_FILES {
                reach.left_out.push(format!("more than {MAX_FILES} files: the rest was not read"));
                break;
            }
            let text = match read(&path) {
                Ok(text) => text,
                Err(reason) => {
                    reach.left_out.push(format!("{}: {reason}", path.display()));
                    continue;
                }
            };
            let Some(language) = Language::of(&path, &text) else {
                if reach.files.is_empty() {
                    reach.left_out.push(format!(
                        "{}: only JavaScript, TypeScript, Python and shell are read",
                        path.display()
                    ));
                }
                continue;
            };
            for taken in taken_in(&path, &text, language) {
                if !is_installed(&taken) && seen.insert(taken.clone()) {
                    next.push_back(taken);
                }
            }
            reach.files.push(SourceFile { path, text, language });
        }
        reach
    }
}

/// The file that a service begins with.
pub(super) fn entry(service: &Service) -> Option<PathBuf> {
    match &service.run {
        Run::Script { script, .. } => Some(script.clone()),
        Run::Command(words) => words.iter().find_map(|word| {
            let path = service.working_folder.join(word);
            let is_source = Language::of(&path, "").is_some();
            (is_source && path.is_file()).then_some(path)
        }),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let told = |error: io::Error| error.to_string();
    let found = fs::metadata(path).map_err(told)?;
    if !found.is_file() {
        return Err("not a file".to_owned());
    }
    if found.len() > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes, which nobody wrote by hand"));
    }
    let bytes = fs::read(path).map_err(told)?;
    String::from_utf8(bytes).map_err(|_| "not text".to_owned())
}

fn is_installed(path: &Path) -> bool {
    path.iter().any(|part| part == "node_modules" || part == "site-packages")
}

/// Files that a source takes in by their own place.
fn taken_in(path: &Path, text: &str, language: Language) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    match language {
        Language::JavaScript => JAVASCRIPT
            .captures_iter(text)
            .filter_map(|found| javascript(&plain(&folder.join(&found[1]))))
            .collect(),
        Language::Python => PYTHON.captures_iter(text).flat_map(|f| python(folder, &f)).collect(),
        Language::Shell => SHELL
            .captures_iter(text)
            .filter(|found| !found[1].contains('$'))
            .map(|found| plain(&folder.join(&found[1])))
            .filter(|path| path.is_file())
            .collect(),
    }
}

/// `./x` may be `x.ts`, `x/index.js` …, and `./x.js` in TypeScript is `x.ts`.
fn javascript(path: &Path) -> Option<PathBuf> {
    const ENDINGS: [&str; 8] = ["ts", "tsx", "js", "mjs", "cjs", "mts", "cts", "jsx"];
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{ending}"));
        PathBuf::from(name)
    };
    let beside = ENDINGS.iter().map(|ending| with(ending));
    let inside = ENDINGS.iter().map(|ending| path.join(format!("index.{ending}")));
    let typed = ["ts", "tsx", "mts"].iter().map(|ending| path.with_extension(ending));
    std::iter::once(path.to_owned()).chain(beside).chain(inside).chain(typed).find(|p| p.is_file())
}

fn python(folder: &Path, found: &regex::Captures<'_>) -> Vec<PathBuf> {
    let mut modules: Vec<(PathBuf, String)> = Vec::new();
    if let Some(from) = found.get(1) {
        let name = from.as_str().trim_start_matches('.');
        // One dot is this folder, each further one the folder above.
        let up = (from.as_str().len() - name.len()).saturating_sub(1);
        let base = folder.ancestors().nth(up).unwrap_or(folder).to_owned();
        if !name.is_empty() {
            modules.push((base.clone(), name.to_owned()));
        }
        let parts = found.get(2).map_or("", |parts| parts.as_str());
        for part in parts.split(',').filter_map(|part| part.split_whitespace().next()) {
            let dot = if name.is_empty() { "" } else { "." };
            modules.push((base.clone(), format!("{name}{dot}{part}")));
        }
    }
    let plain = found.get(3).map_or("", |names| names.as_str());
    for name in plain.split(',').filter_map(|name| name.split_whitespace().next()) {
        modules.push((folder.to_owned(), name.to_owned()));
    }
    let file = |(base, name): (PathBuf, String)| {
        let path = base.join(name.replace('.', "/"));
        [path.with_extension("py"), path.join("__init__.py")].into_iter().find(|p| p.is_file())
    };
    modules.into_iter().filter_map(file).collect()
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use bs9_config::parse_service;

    use super::*;

    fn reached(files: &[(&str, &str)], definition: &str) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let service = parse_service(&folder.path().join("app.toml"), definition).unwrap();
        let reach = Reach::of(&service);
        let short = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
        (reach.files.iter().map(|file| short(&file.path)).collect(), reach.left_out)
    }

    #[test]
    fn what_a_script_takes_in_is_read_too() {
        let files = [
            ("a.ts", "import x from './lib/b.js'\nimport 'express'\nconst c = require('../c')"),
            ("lib/b.ts", "import('./')"),
            ("lib/index.js", "from './b.js'\nrequire('../node_modules/d')"),
            ("node_modules/d.js", ""),
            ("m.py", "import os, tool\nfrom pack import one, two\nfrom . import near\n"),
            ("tool.py", ""),
            ("pack/__init__.py", "from .deep import x\n"),
            ("pack/one.py", ""),
            ("pack/deep.py", "from ..tool import x"),
            ("near.py", ""),
            ("r.sh", ". ./env.sh\nsource \"$HOME/x.sh\"\n"),
            ("env.sh", ""),
        ];
        let paths = |definition| reached(&files, definition).0;
        assert_eq!(paths("script = \"a.ts\""), ["a.ts", "lib/b.ts", "lib/index.js"]);
        assert_eq!(
            paths("command = [\"python3\", \"m.py\"]"),
            ["m.py", "tool.py", "pack/__init__.py", "pack/one.py", "near.py", "pack/deep.py"]
        );
        assert_eq!(paths("script = \"r.sh\""), ["r.sh", "env.sh"]);
        assert!(paths("command = [\"python3\", \"-m\", \"m\"]").is_empty());
    }

    #[test]
    fn what_is_not_read_is_told() {
        let long = "x".repeat(MAX_BYTES as usize + 1);
        let files = [("a.rb", ""), ("b.js", "import './c.js'"), ("c.js", long.as_str())];
        assert!(reached(&files, "script = \"a.rb\"").1[0].contains("only JavaScript"));
        let (read, left_out) = reached(&files, "script = \"b.js\"");
        assert_eq!(read, ["b.js"]);
        assert!(left_out[0].contains("c.js: longer"), "{left_out:?}");
    }
}
