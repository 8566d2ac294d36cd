//! What happens with a service's source: how it is compiled, and what is watched of it.

use std::path::Path;

use super::{HOUR, MILLISECOND, service::path};
use crate::{
    model::{Compiler, Run, SourceWatch},
    raw::Value,
    read::{Fault, Key, Scope, Word, duration, list, table, text, words},
    report::Finding,
};

const COMPILERS: &[Word<Option<Compiler>>] = &[
    Word::is("no", None, "It is run as it is."),
    Word::is(
        "auto",
        Some(Compiler::Auto),
        "By the first that is there: a project's own (`node_modules/.bin`), then the machine's esbuild, bun, tsc, deno.",
    ),
    Word::is("esbuild", Some(Compiler::Esbuild), "By esbuild, which bundles and checks no types."),
    Word::is("bun", Some(Compiler::Bun), "By bun, which bundles and checks no types."),
    Word::is("tsc", Some(Compiler::Tsc), "By TypeScript's own compiler, which checks types."),
    Word::is("deno", Some(Compiler::Deno), "By deno (2.4 and later), which bundles."),
];

/// Endings of what can be compiled.
const COMPILED: [&str; 4] = ["ts", "tsx", "mts", "cts"];

impl Compiler {
    /// The word for it.
    pub fn word(self) -> &'static str {
        COMPILERS.iter().find(|word| word.means(&Some(self))).map_or("", |word| word.text)
    }
}

pub(super) fn build(t: &mut Scope<'_>, run: Option<&Run>) -> Option<Compiler> {
    let build = t.or(
        Key::new("build", "What compiles the script (.ts) before it is run. The result is kept apart from the source; what ran before stays until the new one runs."),
        words(COMPILERS),
        "no",
    )?;
    let ending = run.and_then(Run::script).and_then(Path::extension);
    let compiled = ending.is_some_and(|ending| COMPILED.iter().any(|known| ending == *known));
    if run.is_some() && !compiled {
        let spot = t.key_spot("build").unwrap_or(t.spot());
        t.reader().push(
            Finding::error("`build` has no meaning without a `script` in TypeScript")
                .at(spot, &t.path_of("build"))
                .hint("remove it, or name the .ts file as `script`"),
        );
    }
    Some(build)
}

pub(super) fn watch(t: &mut Scope<'_>) -> Option<SourceWatch> {
    t.optional(
        Key::new("watch", "Bring a change of its source in by itself, as `bs9 reload` does; `{}` takes every default. Absent: only when told."),
        table(source_watch),
    )
}

fn source_watch(t: &mut Scope<'_>) -> Option<SourceWatch> {
    let paths = t.or(
        Key::new(
            "paths",
            "Files and folders that are watched, with all in them. Empty: the working folder.",
        ),
        list(text("a path", None, path)),
        Value::List(Vec::new()),
    );
    let ignore = t.or(
        Key::new("ignore", "What is not looked at, by the name of a file or folder, or by its path below what is watched: `*` stands for any characters but `/`, `**` for any. Always so: hidden files, `node_modules`, `__pycache__`, `*.log`, `*.tmp`, `*.swp`, `*.pyc`, `*~`, and what the service may write."),
        list(text("a pattern such as \"*.md\" or \"tests/**\"", None, pattern)),
        Value::List(Vec::new()),
    );
    let debounce = t.or(
        Key::new("debounce", "How long nothing may change before it is brought in."),
        duration(10 * MILLISECOND..=HOUR),
        "500ms",
    );
    Some(SourceWatch { paths, ignore, debounce })
}

fn pattern(text: &str, _: &Path) -> Result<String, Fault> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err(Fault::new("the pattern is empty, or has control characters")),
        false => Ok(text.trim_start_matches("./").to_owned()),
    }
}
