//! Which compilers there are for TypeScript, and how each is told what to do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bs9_config::{Compiler, Service};

use crate::unit::Surroundings;

/// A compiler that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) compiler: Compiler,
    pub(super) path: PathBuf,
}

/// Those of the machine, best first.
const KNOWN: [Compiler; 4] = [Compiler::Esbuild, Compiler::Bun, Compiler::Tsc, Compiler::Deno];

/// Looks for the one that is asked for: a project's own before the machine's.
///
/// # Errors
/// What to install, for people.
pub(super) fn find(
    wanted: Compiler,
    service: &Service,
    script: &Path,
    around: &Surroundings,
) -> Result<Found, String> {
    let candidates = match wanted {
        Compiler::Auto => &KNOWN[..],
        _ => std::slice::from_ref(&wanted),
    };
    let own = script.ancestors().skip(1).map(|folder| folder.join("node_modules/.bin"));
    let own: Vec<PathBuf> = own.collect();
    let own = candidates.iter().find_map(|&compiler| {
        let mut paths = own.iter().map(|folder| folder.join(compiler.word()));
        let path = paths.find(|path| crate::unit::is_executable(path))?;
        Some(Found { compiler, path })
    });
    let machine = || {
        candidates
            .iter()
            .find_map(|&compiler| Some(Found { compiler, path: around.find(compiler.word())? }))
    };
    own.or_else(machine).ok_or_else(|| missing(wanted, service, script))
}

fn missing(wanted: Compiler, service: &Service, script: &Path) -> String {
    let folder = project(script).unwrap_or(&service.working_folder).display();
    let (what, how) = match wanted {
        Compiler::Auto => (
            "none of esbuild, bun, tsc and deno is".to_owned(),
            format!(
                "install one: `npm install --save-dev esbuild` or `npm install --save-dev typescript` \
                 in {folder}, or `apt install esbuild` for the machine"
            ),
        ),
        Compiler::Tsc => (
            "tsc is not".to_owned(),
            format!(
                "install it: `npm install --save-dev typescript` in {folder}, or \
                 `apt install node-typescript` for the machine"
            ),
        ),
        Compiler::Esbuild => (
            "esbuild is not".to_owned(),
            format!(
                "install it: `npm install --save-dev esbuild` in {folder}, or \
                 `apt install esbuild` for the machine"
            ),
        ),
        Compiler::Bun => ("bun is not".to_owned(), "install it from https://bun.sh".to_owned()),
        Compiler::Deno => ("deno is not".to_owned(), "install it from https://deno.com".to_owned()),
    };
    format!(
        "{what} there to compile {}; {how}. Or leave `build` out: bun, deno, tsx and node from 22.18 \
         on run TypeScript as it is",
        script.display()
    )
}

/// How a compiler is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) arguments: Vec<String>,
    /// The file it makes, when it is known beforehand.
    pub(super) entry: Option<PathBuf>,
}

impl Found {
    /// What is to be said to it, to put the result of `script` in `folder`.
    pub(super) fn plan(&self, script: &Path, text: &str, folder: &Path) -> Plan {
        let stem = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let shown = |path: &Path| path.to_string_lossy().into_owned();
        let one = |name: String, arguments: Vec<String>| Plan {
            arguments,
            entry: Some(PathBuf::from(name)),
        };
        match self.compiler {
            Compiler::Auto | Compiler::Esbuild => {
                let (format, ending) = match is_module(script, text) {
                    true => ("esm", "mjs"),
                    false => ("cjs", "cjs"),
                };
                let name = format!("{stem}.{ending}");
                let arguments = vec![
                    shown(script),
                    "--bundle".to_owned(),
                    "--platform=node".to_owned(),
                    // What was installed is found where it was installed.
                    "--packages=external".to_owned(),
                    "--sourcemap".to_owned(),
                    "--log-level=warning".to_owned(),
                    "--color=false".to_owned(),
                    format!("--format={format}"),
                    format!("--outfile={}", shown(&folder.join(&name))),
                ];
                one(name, arguments)
            }
            Compiler::Bun => {
                let name = format!("{stem}.mjs");
                let out = shown(&folder.join(&name));
                one(name, words(["build", &shown(script), "--target=node", "--outfile", &out]))
            }
            Compiler::Deno => {
                let name = format!("{stem}.mjs");
                let out = shown(&folder.join(&name));
                one(name, words(["bundle", "--output", &out, &shown(script)]))
            }
            Compiler::Tsc => Plan { arguments: tsc(script, folder), entry: None },
        }
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

/// With the project's settings where it has some, else with what suits node.
fn tsc(script: &Path, folder: &Path) -> Vec<String> {
    let settings = script.ancestors().skip(1).map(|folder| folder.join("tsconfig.json"));
    let out = folder.to_string_lossy().into_owned();
    let common = ["--noEmit", "false", "--incremental", "false", "--composite", "false"];
    let mut arguments: Vec<String> = match settings.into_iter().find(|file| file.is_file()) {
        Some(settings) => words(["--project", &settings.to_string_lossy(), "--outDir", &out]),
        None => {
            let root = script.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            let mut arguments = words([&script.to_string_lossy(), "--rootDir", &root]);
            arguments.extend(words(["--outDir", &out, "--target", "es2021", "--skipLibCheck"]));
            let module = if package_is_module(script) { "es2022" } else { "commonjs" };
            arguments.extend(words(["--module", module, "--moduleResolution", "node"]));
            arguments.extend(words(["--esModuleInterop", "--sourceMap"]));
            arguments
        }
    };
    arguments.extend(common.map(str::to_owned));
    arguments.extend(words(["--pretty", "false"]));
    arguments
}

/// Whether what is made has to be a module of ECMAScript: by what it is called, by what its
/// package says, or as it uses what only those have.
fn is_module(script: &Path, text: &str) -> bool {
    match script.extension().and_then(|ending| ending.to_str()) {
        Some("mts") => true,
        Some("cts") => false,
        _ => {
            package_is_module(script)
                || text.contains("import.meta")
                || text
                    .lines()
                    .any(|line| line.starts_with("await ") || line.starts_with("for await "))
        }
    }
}

/// What the package that a script belongs to says.
pub(super) fn package_is_module(script: &Path) -> bool {
    let Some(project) = project(script) else { return false };
    let text = fs::read_to_string(project.join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package.get("type").and_then(|kind| kind.as_str()) == Some("module")
}

/// The folder with the package that a script belongs to.
fn project(script: &Path) -> Option<&Path> {
    script.ancestors().skip(1).find(|folder| folder.join("package.json").is_file())
}

/// Where the script's packages are installed.
pub(crate) fn packages(script: &Path) -> Option<PathBuf> {
    let folders = script.ancestors().skip(1).map(|folder| folder.join("node_modules"));
    folders.into_iter().find(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bs9_config::{ServiceScope, parse_service};

    use super::*;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_projects_own_compiler_comes_first_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("app/src/a.ts");
        let text = format!("script = \"{}\"", script.display());
        let service = parse_service(&folder.path().join("a.toml"), &text).unwrap();
        let around = Surroundings {
            path: vec![folder.path().join("bin")],
            ..Surroundings::new(ServiceScope::User, folder.path().to_owned())
        };
        let look = |wanted| find(wanted, &service, &script, &around);
        let said = look(Compiler::Auto).unwrap_err();
        assert!(said.contains("npm install --save-dev esbuild"), "{said}");
        program(&folder.path().join("bin/esbuild"));
        assert_eq!(look(Compiler::Auto).unwrap().compiler, Compiler::Esbuild);
        program(&folder.path().join("app/node_modules/.bin/tsc"));
        assert_eq!(look(Compiler::Auto).unwrap().compiler, Compiler::Tsc);
        assert_eq!(look(Compiler::Esbuild).unwrap().path, folder.path().join("bin/esbuild"));
        assert!(look(Compiler::Bun).unwrap_err().contains("bun.sh"));
        assert_eq!(packages(&script).unwrap(), folder.path().join("app/node_modules"));
    }

    #[test]
    fn what_is_made_is_of_the_kind_that_the_source_needs() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(!is_module(&at("a.ts"), "import x from 'y'"));
        assert!(is_module(&at("a.ts"), "console.log(import.meta.url)"));
        assert!(is_module(&at("a.ts"), "x\nawait main()"));
        assert!(is_module(&at("a.mts"), ""));
        fs::write(at("package.json"), "{\"type\":\"module\"}").unwrap();
        assert!(is_module(&at("src/a.ts"), ""));
        assert!(!is_module(&at("a.cts"), ""));
        let found = Found { compiler: Compiler::Esbuild, path: "esbuild".into() };
        let plan = found.plan(&at("a.ts"), "", Path::new("/out"));
        assert_eq!(plan.entry.unwrap(), Path::new("a.mjs"));
        assert!(plan.arguments.contains(&"--outfile=/out/a.mjs".to_owned()));
        fs::write(at("tsconfig.json"), "{}").unwrap();
        let found = Found { compiler: Compiler::Tsc, path: "tsc".into() };
        let plan = found.plan(&at("src/a.ts"), "", Path::new("/out"));
        assert!(plan.arguments.starts_with(&["--project".to_owned()]));
        assert_eq!(plan.entry, None);
    }
}
