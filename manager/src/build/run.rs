//! Running a compiler.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, Instant},
};

use bs9_api::types::BuildStatus;
use bs9_config::Service;
use jiff::Timestamp;
use tokio::time;

use super::{
    Build, Builds,
    command::command,
    compiler::{self, Found},
};
use crate::{unit::Surroundings, whole};

/// How long a compiler may take.
const LIMIT: Duration = Duration::from_secs(300);
/// Lines that are told of what a compiler says.
const SAID_LINES: usize = 30;
/// Files of a result that are looked at for the one to run.
const MAX_FILES: usize = 50_000;

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{0}")]
    Missing(String),
    #[error("{compiler} does not compile {}; what ran before runs on:\n{said}", script.display())]
    Failed { compiler: &'static str, script: PathBuf, said: String },
    #[error("{compiler} was not done after {} s", LIMIT.as_secs())]
    Slow { compiler: &'static str },
    #[error("{compiler} made no file of {}", script.display())]
    NoEntry { compiler: &'static str, script: PathBuf },
    #[error("`{user}` cannot enter {}, where builds are kept; let the manager keep its state (state_folder) where every user can enter", folder.display())]
    Closed { user: String, folder: PathBuf },
    #[error("the build cannot be kept in {}: {source}", folder.display())]
    Keep { folder: PathBuf, source: io::Error },
}

/// Compiles a service's script into a new build; `None` when it is run as it is.
///
/// # Errors
/// See [`BuildError`]; earlier builds are untouched.
pub(crate) async fn compile(
    service: &Service,
    around: &Surroundings,
) -> Result<Option<Build>, BuildError> {
    let (Some(wanted), Some(script)) = (service.build, service.run.script()) else {
        return Ok(None);
    };
    let builds = Builds::of(&around.state_folder, &service.name);
    enterable(service, builds.folder())?;
    let found = compiler::find(wanted, service, script, around).map_err(BuildError::Missing)?;
    let number = builds.next();
    // Nothing with a number is ever half a build.
    let new = builds.folder().join(format!(".{number}.new"));
    let failed = |source| BuildError::Keep { folder: new.clone(), source };
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => fs::create_dir_all(&new).map_err(failed)?,
    }
    let made = make(service, script, &found, around, &new).await;
    let kept = match made {
        Ok((entry, seconds)) => {
            let status = BuildStatus {
                number,
                compiler: found.compiler.word().to_owned(),
                version: version(&found.path, around).await,
                at: Some(Timestamp::now()),
                seconds,
            };
            let build = Build { status, entry };
            let place = builds.place(number);
            furnish(script, &new)
                .and_then(|()| whole::keep(&new.join("build.json"), &build))
                .and_then(|()| fs::rename(&new, &place))
                .map_err(failed)
                .map(|()| Some(build))
        }
        Err(error) => Err(error),
    };
    if kept.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&new);
    }
    kept
}

/// The file to run, below `folder`, and how long it took.
async fn make(
    service: &Service,
    script: &Path,
    found: &Found,
    around: &Surroundings,
    folder: &Path,
) -> Result<(PathBuf, f64), BuildError> {
    let compiler = found.compiler.word();
    let text = fs::read_to_string(script).unwrap_or_default();
    let plan = found.plan(script, &text, folder);
    let begun = Instant::now();
    let arguments: Vec<&str> = plan.arguments.iter().map(String::as_str).collect();
    let output = run(&found.path, &arguments, &service.working_folder, around, LIMIT).await;
    let output = match output {
        Some(Ok(output)) => output,
        Some(Err(error)) => {
            let said = error.to_string();
            return Err(BuildError::Failed { compiler, script: script.to_owned(), said });
        }
        None => return Err(BuildError::Slow { compiler }),
    };
    if !output.status.success() {
        return Err(BuildError::Failed {
            compiler,
            script: script.to_owned(),
            said: said(&output),
        });
    }
    let entry = plan.entry.filter(|entry| folder.join(entry).is_file());
    let entry = entry.or_else(|| entry_in(folder, script));
    match entry {
        Some(entry) => Ok((entry, begun.elapsed().as_secs_f64())),
        None => Err(BuildError::NoEntry { compiler, script: script.to_owned() }),
    }
}

/// Runs a program; `None`: too slow.
async fn run(
    program: &Path,
    arguments: &[&str],
    folder: &Path,
    around: &Surroundings,
    limit: Duration,
) -> Option<io::Result<Output>> {
    let mut command = command(program, arguments, folder, around, limit);
    time::timeout(limit, command.output()).await.ok()
}

async fn version(program: &Path, around: &Surroundings) -> Option<String> {
    let said = run(program, &["--version"], Path::new("/"), around, Duration::from_secs(10)).await;
    let output = said?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim();
    let line = line.strip_prefix("Version ").unwrap_or(line);
    (!line.is_empty() && line.len() <= 80).then(|| line.to_owned())
}

fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let lines: Vec<&str> =
        text.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()).collect();
    let mut told = lines.iter().take(SAID_LINES).copied().collect::<Vec<_>>().join("\n");
    if lines.len() > SAID_LINES {
        told.push_str(&format!("\n… and {} more lines", lines.len() - SAID_LINES));
    }
    told
}

/// What a compiler of whole projects made of the script: the file of its name, in folders
/// named most like the script's.
fn entry_in(folder: &Path, script: &Path) -> Option<PathBuf> {
    let stem = script.file_stem()?;
    let mut best: Option<(usize, PathBuf)> = None;
    let mut folders = vec![folder.to_owned()];
    let mut looked = 0;
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).ok()?.filter_map(Result::ok) {
            looked += 1;
            let path = entry.path();
            if looked > MAX_FILES {
                break;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
                continue;
            }
            let ending = path.extension().and_then(|ending| ending.to_str());
            if path.file_stem() != Some(stem) || !matches!(ending, Some("js" | "mjs" | "cjs")) {
                continue;
            }
            let below = path.strip_prefix(folder).ok()?.to_owned();
            let ours = below.parent().into_iter().flat_map(Path::iter).rev();
            let theirs = script.parent().into_iter().flat_map(Path::iter).rev();
            let alike = ours.zip(theirs).take_while(|(a, b)| a == b).count();
            if best.as_ref().is_none_or(|(known, _)| alike > *known) {
                best = Some((alike, below));
            }
        }
    }
    best.map(|(_, path)| path)
}

/// What a script needs beside itself: its packages, and of which kind it is.
fn furnish(script: &Path, folder: &Path) -> io::Result<()> {
    let module = compiler::package_is_module(script);
    let kind = if module { "module" } else { "commonjs" };
    fs::write(folder.join("package.json"), format!("{{\"type\":\"{kind}\"}}\n"))?;
    match compiler::packages(script) {
        Some(packages) => std::os::unix::fs::symlink(packages, folder.join("node_modules")),
        None => Ok(()),
    }
}

/// A service of another user has to get to its build.
fn enterable(service: &Service, folder: &Path) -> Result<(), BuildError> {
    use std::os::unix::fs::PermissionsExt as _;

    let Some(user) = service.user.as_ref().filter(|user| *user != "root") else { return Ok(()) };
    let closed = folder.ancestors().find(|folder| {
        folder.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
    });
    match closed {
        Some(folder) => Err(BuildError::Closed { user: user.clone(), folder: folder.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bs9_config::Compiler;

    use super::*;

    #[test]
    fn a_compiler_is_called_as_its_program_is() {
        let all = [Compiler::Esbuild, Compiler::Bun, Compiler::Tsc, Compiler::Deno];
        assert_eq!(all.map(Compiler::word), ["esbuild", "bun", "tsc", "deno"]);
    }

    #[test]
    fn the_entry_of_a_project_is_the_one_most_like_the_script() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["src/a/main.js", "src/b/main.js", "main.js", "src/b/main.d.ts"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let entry = |script: &str| entry_in(folder.path(), Path::new(script));
        assert_eq!(entry("/p/src/b/main.ts").unwrap(), Path::new("src/b/main.js"));
        assert_eq!(entry("/p/src/a/main.ts").unwrap(), Path::new("src/a/main.js"));
        assert_eq!(entry("/p/other.ts"), None);
    }
}
