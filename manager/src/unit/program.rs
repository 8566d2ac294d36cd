//! Which program runs a service.

use std::path::{Path, PathBuf};

use bs9_config::{Run, Service};

use super::{Surroundings, surroundings::is_executable};
use crate::build;

/// Programs that run a kind of script, best first; a word after the program is
/// an argument before the script.
const INTERPRETERS: &[(&[&str], &[&[&str]])] = &[
    (
        &["ts", "tsx", "mts", "cts"],
        // node runs TypeScript itself from 22.18 on, by stripping the types.
        &[&["bun"], &["deno", "run", "--allow-all"], &["tsx"], &["ts-node"], &["node"]],
    ),
    (&["js", "mjs", "cjs", "jsx"], &[&["node"], &["bun"], &["deno", "run", "--allow-all"]]),
    (&["py"], &[&["python3"], &["python"]]),
    (&["sh"], &[&["bash"], &["sh"]]),
    (&["rb"], &[&["ruby"]]),
    (&["php"], &[&["php"]]),
    (&["pl"], &[&["perl"]]),
    (&["lua"], &[&["lua"]]),
    (&["jar"], &[&["java", "-jar"]]),
];

/// Programs that compile while they run, and so need memory that is both written
/// and executed.
const JITS: &[&str] = &[
    "node", "bun", "deno", "tsx", "ts-node", "npm", "npx", "pnpm", "yarn", "java", "dotnet", "php",
    "luajit", "pypy", "pypy3", "mono", "julia", "qemu",
];

/// A command line that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// Where the program is.
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("there is no program `{program}` in {}", shown(searched))]
    Missing { program: String, searched: Vec<PathBuf> },
    #[error("there is no script {}", .0.display())]
    NoScript(PathBuf),
    #[error("nothing is known to run {}, and it is not executable; name an interpreter, or `chmod +x` it", .0.display())]
    NoInterpreter(PathBuf),
    #[error("none of {} is installed to run {}", candidates.join(", "), script.display())]
    InterpreterMissing { script: PathBuf, candidates: Vec<&'static str> },
    #[error("the working folder {} is not there", .0.display())]
    NoFolder(PathBuf),
}

fn shown(folders: &[PathBuf]) -> String {
    let all: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    all.join(":")
}

impl Program {
    /// The program of a service, on this machine.
    pub(crate) fn of(service: &Service, around: &Surroundings) -> Result<Self, ProgramError> {
        if !service.working_folder.is_dir() {
            return Err(ProgramError::NoFolder(service.working_folder.clone()));
        }
        match &service.run {
            Run::Command(words) => command(words, service, around),
            Run::Script { script, interpreter, arguments } => {
                if !script.is_file() {
                    return Err(ProgramError::NoScript(script.clone()));
                }
                let built = build::entry(service, &around.state_folder);
                let run = built.as_ref().unwrap_or(script);
                script_of(run, interpreter.as_deref(), arguments, service, around)
            }
        }
    }

    /// Whether it is known to compile while it runs: by its own name, or by the name
    /// of what a script of its asks for (`#!/usr/bin/env node`).
    pub(crate) fn is_jit(&self) -> bool {
        let named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            JITS.contains(&name)
        };
        named(&self.path)
            || self.path.canonicalize().is_ok_and(|path| named(&path))
            || shebang(&self.path)
                .is_some_and(|line| line.split(['/', ' ', '\t']).any(|word| JITS.contains(&word)))
    }
}

fn command(
    words: &[String],
    service: &Service,
    around: &Surroundings,
) -> Result<Program, ProgramError> {
    let (program, arguments) = words.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    // `./server` and `bin/server` are relative to the working folder.
    let found = match program.contains('/') {
        true => Some(service.working_folder.join(program)).filter(|path| is_executable(path)),
        false => around.find(program),
    };
    let path = found.ok_or_else(|| missing(program, around))?;
    Ok(Program { path, arguments: arguments.to_vec() })
}

fn script_of(
    script: &Path,
    interpreter: Option<&str>,
    arguments: &[String],
    service: &Service,
    around: &Surroundings,
) -> Result<Program, ProgramError> {
    let ending = script.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let known = INTERPRETERS.iter().find(|(endings, _)| endings.contains(&ending));
    let (path, mut words) = match (interpreter, known) {
        (Some(program), _) => {
            let path = around.find(program).ok_or_else(|| missing(program, around))?;
            (path, before_script(program))
        }
        (None, Some((_, candidates))) => {
            first_of(candidates, service, around).ok_or_else(|| {
                ProgramError::InterpreterMissing {
                    script: script.to_owned(),
                    candidates: candidates.iter().map(|words| words[0]).collect(),
                }
            })?
        }
        (None, None) if is_executable(script) => (script.to_owned(), Vec::new()),
        (None, None) => return Err(ProgramError::NoInterpreter(script.to_owned())),
    };
    if path != script {
        words.push(script.to_string_lossy().into_owned());
    }
    words.extend_from_slice(arguments);
    Ok(Program { path, arguments: words })
}

/// Words that an interpreter which was named takes before the script.
fn before_script(program: &str) -> Vec<String> {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let all = INTERPRETERS.iter().flat_map(|(_, candidates)| candidates.iter());
    let words = all.into_iter().find(|words| words[0] == name);
    words
        .map(|words| words[1..].iter().map(|word| (*word).to_owned()).collect())
        .unwrap_or_default()
}

/// The first that is there; a project's own comes before the machine's.
fn first_of(
    candidates: &[&[&str]],
    service: &Service,
    around: &Surroundings,
) -> Option<(PathBuf, Vec<String>)> {
    const OWN: [&str; 3] = [".venv/bin", "venv/bin", "node_modules/.bin"];
    candidates.iter().find_map(|words| {
        let own = OWN.iter().map(|folder| service.working_folder.join(folder).join(words[0]));
        let path =
            own.into_iter().find(|path| is_executable(path)).or_else(|| around.find(words[0]))?;
        Some((path, words[1..].iter().map(|word| (*word).to_owned()).collect()))
    })
}

fn missing(program: &str, around: &Surroundings) -> ProgramError {
    ProgramError::Missing { program: program.to_owned(), searched: around.path.clone() }
}

/// The first line of a script that says what runs it.
fn shebang(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut head = [0; 128];
    let length = std::fs::File::open(path).ok()?.read(&mut head).ok()?;
    let text = std::str::from_utf8(head[..length].strip_prefix(b"#!")?).unwrap_or_default();
    text.lines().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use bs9_config::{ServiceScope, parse_service};

    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(files: &[&str], programs: &[&str]) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir(place.0.path().join("bin")).unwrap();
            for file in files {
                let path = place.0.path().join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            for program in programs {
                let path = place.0.path().join(program);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, "").unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            place
        }

        fn find(&self, text: &str) -> Result<Program, ProgramError> {
            let service = parse_service(&self.0.path().join("app.toml"), text).unwrap();
            let around = Surroundings {
                path: vec![self.0.path().join("bin")],
                ..Surroundings::new(ServiceScope::User, self.0.path().to_owned())
            };
            Program::of(&service, &around)
        }

        /// The command line, the place left out.
        fn words(&self, text: &str) -> String {
            let Program { path, arguments } = self.find(text).unwrap();
            let place = format!("{}/", self.0.path().display());
            let line = format!("{} {}", path.display(), arguments.join(" "));
            line.replace(&place, "").trim_end().to_owned()
        }
    }

    #[test]
    fn scripts_are_run_by_what_is_there() {
        let place = Place::new(
            &["a.ts", "a.js", "a.py", "a.sh"],
            &["bin/deno", "bin/node", "bin/python3", "bin/sh", ".venv/bin/python3", "a.bin"],
        );
        let cases = [
            ("script = \"a.ts\"", "bin/deno run --allow-all a.ts"),
            ("script = \"a.js\"\narguments = [\"-v\"]", "bin/node a.js -v"),
            ("script = \"a.py\"", ".venv/bin/python3 a.py"),
            ("script = \"a.sh\"", "bin/sh a.sh"),
            ("script = \"a.bin\"", "a.bin"),
            ("script = \"a.js\"\ninterpreter = \"deno\"", "bin/deno run --allow-all a.js"),
            ("command = [\"node\", \"a.js\"]", "bin/node a.js"),
            ("command = [\"./a.bin\"]", "./a.bin"),
        ];
        for (text, expected) in cases {
            assert_eq!(place.words(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let place = Place::new(&["a.ts", "a.xyz"], &[]);
        let said = |text: &str| place.find(text).unwrap_err().to_string();
        assert!(said("script = \"a.ts\"").contains("none of bun, deno"));
        assert!(said("script = \"a.xyz\"").contains("chmod +x"));
        assert!(said("script = \"b.ts\"").contains("there is no script"));
        assert!(said("command = [\"nothing-like-it\"]").contains("nothing-like-it"));
        assert!(said("command = [\"x\"]\nworking_folder = \"gone\"").contains("working folder"));
    }

    #[test]
    fn compilers_are_known_by_name_and_by_shebang() {
        let place = Place::new(&[], &["bin/node", "bin/app", "bin/plain"]);
        fs::write(place.0.path().join("bin/app"), "#!/usr/bin/env node\n").unwrap();
        for (program, jit) in [("node", true), ("app", true), ("plain", false)] {
            let found = place.find(&format!("command = [\"{program}\"]")).unwrap();
            assert_eq!(found.is_jit(), jit, "{program}");
        }
    }
}
