//! The `options` startup parameter: command-line arguments for the server process.
//!
//! Split as the server's `pg_split_opts` does: at white space, a backslash taking the next
//! character as it is. Of the arguments only settings are accepted: `-c name=value`,
//! `-cname=value` and `--name=value`. The rest of the server's switches make no sense for a
//! server connection that many clients share.

use super::StartupError;

/// A run-time parameter asked for in `options`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name; dashes have become underscores, as the server does for both forms.
    pub name: String,
    /// Its value, unescaped.
    pub value: String,
}

/// Takes `options` apart, in order. Later settings of one name override earlier ones.
///
/// # Errors
/// [`StartupError::BadOptions`] for an argument that is not a setting with a value.
pub fn settings(options: &str) -> Result<Vec<Setting>, StartupError> {
    let mut settings = Vec::new();
    let mut arguments = Arguments { rest: options };
    while let Some(argument) = arguments.next() {
        let assignment = if let Some(long) = argument.strip_prefix("--") {
            long.to_owned()
        } else if argument == "-c" {
            arguments.next().ok_or(StartupError::BadOptions)?
        } else if let Some(attached) = argument.strip_prefix("-c") {
            attached.to_owned()
        } else {
            return Err(StartupError::BadOptions);
        };
        settings.push(Setting::parse(&assignment)?);
    }
    Ok(settings)
}

impl Setting {
    fn parse(assignment: &str) -> Result<Self, StartupError> {
        match assignment.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.replace('-', "_"), value: value.to_owned() })
            }
            _ => Err(StartupError::BadOptions),
        }
    }
}

struct Arguments<'a> {
    rest: &'a str,
}

impl Iterator for Arguments<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        // The server's isspace(): ASCII, vertical tab included.
        let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
        self.rest = self.rest.trim_start_matches(is_space);
        if self.rest.is_empty() {
            return None;
        }
        let mut argument = String::new();
        let mut chars = self.rest.chars();
        loop {
            self.rest = chars.as_str();
            match chars.next() {
                None => break,
                Some(c) if is_space(c) => break,
                // A backslash at the very end stands for nothing.
                Some('\\') => argument.extend(chars.next()),
                Some(c) => argument.push(c),
            }
        }
        Some(argument)
    }
}
