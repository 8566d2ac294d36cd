//! Values as a unit file takes them (systemd.syntax(7), systemd.service(5)).

/// A value in which `%` means nothing (systemd.unit(5), "Specifiers").
pub(crate) fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

/// A word of a list in double quotes, as `Environment=` takes it.
pub(crate) fn word(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in literal(text).chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A word of a command line, in which `$` would mean a variable.
pub(crate) fn argument(text: &str) -> String {
    let escaped = word(&text.replace('$', "$$"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
    match !text.is_empty() && text.chars().all(plain) && !text.starts_with(['-', '@', ':', '+']) {
        true => text.to_owned(),
        false => escaped,
    }
}

/// A line of an environment file (systemd.exec(5), `EnvironmentFile=`).
pub(crate) fn environment_line(name: &str, value: &str) -> String {
    let mut line = format!("{name}=\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            line.push('\\');
        }
        line.push(c);
    }
    line.push_str("\"\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_has_a_meaning() {
        let cases = [
            ("/usr/bin/node", "/usr/bin/node"),
            ("--port=80", "\"--port=80\""),
            ("a b", "\"a b\""),
            ("50%", "\"50%%\""),
            ("$HOME", "\"$$HOME\""),
            ("say \"hi\"", "\"say \\\"hi\\\"\""),
            ("", "\"\""),
        ];
        for (text, expected) in cases {
            assert_eq!(argument(text), expected);
        }
        assert_eq!(environment_line("A", "x\"\\`$"), "A=\"x\\\"\\\\\\`\\$\"\n");
    }
}
