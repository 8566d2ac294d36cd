//! `[listeners.NAME.access_log]`.

use std::{path::Path, sync::Arc};

use crate::{
    model::{AccessLog, LogField, LogFormat, LogOutput, Rotation, TemplatePiece},
    read::{Fault, Key, Scope, Word, absolute, float, integer, nearest, size, text, words},
    report::Finding,
};

const FORMATS: &[Word<LogFormat>] = &[
    Word::is("json", LogFormat::Json, "One object a line, with every field that is known."),
    Word::is("common", LogFormat::Common, "The Common Log Format of NCSA httpd."),
    Word::is("combined", LogFormat::Combined, "Likewise, with referrer and user agent."),
];

pub(super) fn access_log(t: &mut Scope<'_>) -> Option<AccessLog> {
    let output = t.or(
        Key::new("output", "Where it goes: `\"stdout\"`, `\"journald\"`, or `\"file:PATH\"`, which is appended to and opened anew on SIGUSR1."),
        text("\"stdout\", \"journald\" or \"file:PATH\"", Some("^(stdout|journald|file:.+)$"), output),
        "stdout",
    );
    let format = t.optional(
        Key::new(
            "format",
            "What a line looks like; `\"json\"` when there is no `template` either.",
        ),
        words(FORMATS),
    );
    let template = t.optional(
        Key::new("template", "A line of your own, instead of `format`: `\"{client} {method} {path} {status} {duration_seconds}\"`. The names are those of `\"json\"`; what is not known is `-`. `{{` is a brace."),
        text("a template such as \"{client} {status}\"", None, template),
    );
    let sample = t.or(
        Key::new("sample", "Share of the requests, connections or sessions that is logged. Those that failed always are (status 500 and above, or a reason)."),
        float(0.0..=1.0),
        1.0,
    );
    let rotate_size = t.optional(
        Key::new("rotate_size", "A file that would become larger is put aside as `PATH.1`, the one before as `PATH.2`, and so on. Absent: it grows until somebody else rotates it and sends SIGUSR1."),
        size(4 << 10..=1 << 40),
    );
    let keep = t.or(Key::new("keep", "Files put aside that are kept."), integer(1..=1_000), 5);
    let queue = t.or(
        Key::new("queue_size", "What may wait to be written; what comes beyond it is dropped and counted (`bs9_access_log_dropped_total`)."),
        size(64 << 10..=1 << 30),
        "4MiB",
    );
    if let (Some(_), Some(spot)) = (&format, t.key_spot("template")) {
        t.reader().push(
            Finding::error("both `format` and `template` say what a line looks like")
                .at(spot, &t.path_of("template"))
                .hint("remove one of them"),
        );
    }
    let output = match (output, rotate_size) {
        (LogOutput::File { path, .. }, max_bytes) => {
            let rotation = max_bytes.map(|max_bytes| Rotation { max_bytes, keep });
            LogOutput::File { path, rotation }
        }
        (other, None) => other,
        (other, Some(_)) => {
            let spot = t.key_spot("rotate_size").unwrap_or(t.spot());
            t.reader().push(
                Finding::error("`rotate_size` has no meaning for what is not a file")
                    .at(spot, &t.path_of("rotate_size"))
                    .hint("remove it, or use output = \"file:PATH\""),
            );
            other
        }
    };
    let format = match template {
        Some(pieces) => LogFormat::Template(pieces),
        None => format.unwrap_or_default(),
    };
    Some(AccessLog { output, format, sample, queue_bytes: queue as usize })
}

fn output(text: &str, folder: &Path) -> Result<LogOutput, Fault> {
    match text {
        "stdout" => Ok(LogOutput::Stdout),
        "journald" => Ok(LogOutput::Journald),
        text => match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => {
                Ok(LogOutput::File { path: absolute(folder, path), rotation: None })
            }
            _ => Err(Fault::new(format!("`{text}` is no output"))
                .hint("write \"stdout\", \"journald\" or \"file:PATH\"")),
        },
    }
}

fn template(text: &str, _folder: &Path) -> Result<Arc<[TemplatePiece]>, Fault> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    if text.contains(['\n', '\r']) {
        return Err(Fault::new("a template is one line"));
    }
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            plain.push_str(&brace[..1]);
            rest = after;
            continue;
        }
        let name = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = name else {
            return Err(Fault::new("a brace of the template stands alone")
                .hint("write {{ or }} for a brace"));
        };
        if !plain.is_empty() {
            pieces.push(TemplatePiece::Text(std::mem::take(&mut plain).into()));
        }
        pieces.push(TemplatePiece::Field(field(name)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(TemplatePiece::Text(plain.into()));
    }
    if pieces.is_empty() {
        return Err(Fault::new("the template is empty"));
    }
    Ok(pieces.into())
}

fn field(name: &str) -> Result<LogField, Fault> {
    let known = || LogField::ALL.iter().map(|field| field.name());
    LogField::ALL.iter().find(|field| field.name() == name).copied().ok_or_else(|| {
        Fault::new(format!("the template has an unknown field `{name}`")).hint(
            match nearest(name, known()) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_text_and_fields() {
        let pieces = template("a{{b}} {client} [{status}]", Path::new("")).unwrap();
        assert_eq!(
            *pieces,
            [
                TemplatePiece::Text("a{b} ".into()),
                TemplatePiece::Field(LogField::Client),
                TemplatePiece::Text(" [".into()),
                TemplatePiece::Field(LogField::Status),
                TemplatePiece::Text("]".into()),
            ]
        );
        for wrong in ["", "{", "}", "{clint}", "{client", "a\nb", "{}"] {
            assert!(template(wrong, Path::new("")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn outputs_have_a_scheme_of_their_own() {
        let file = output("file:a.log", Path::new("/etc/bs9")).unwrap();
        assert_eq!(file, LogOutput::File { path: "/etc/bs9/a.log".into(), rotation: None });
        for wrong in ["", "file:", "/var/log/a", "syslog"] {
            assert!(output(wrong, Path::new("/")).is_err(), "{wrong}");
        }
    }
}
