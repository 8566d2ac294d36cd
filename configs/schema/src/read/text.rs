//! Formats of strings.

use std::{env, path::Path};

use super::{At, Fault, Format, Reader, format::wrong_type};
use crate::{
    definition::{Kind, TextForm},
    model::Secret,
    raw::Value,
    source,
};

/// Bytes of a file that holds a secret.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// See [`text`].
pub(crate) struct Text<P> {
    form: TextForm,
    parse: P,
}

/// A string. `parse` is given the folder that relative paths start from.
pub(crate) fn text<T, P>(what: &'static str, pattern: Option<&'static str>, parse: P) -> Text<P>
where
    P: Fn(&str, &Path) -> Result<T, Fault>,
{
    Text { form: TextForm { what, pattern }, parse }
}

impl<T, P: Fn(&str, &Path) -> Result<T, Fault>> Format for Text<P> {
    type Output = T;

    fn kind(&self) -> Kind {
        Kind::Text(self.form)
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<T> {
        let Value::Text(text) = &at.node.value else {
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let parsed = (self.parse)(text, reader.folder(at.node.spot));
        parsed.map_err(|fault| reader.fault(at, fault)).ok()
    }
}

/// See [`secret`].
pub(crate) struct SecretFormat;

/// A password, token or key: itself, `env:NAME` or `file:PATH`.
pub(crate) fn secret() -> SecretFormat {
    SecretFormat
}

impl Format for SecretFormat {
    type Output = Secret;

    fn kind(&self) -> Kind {
        Kind::Secret
    }

    fn fits(&self, value: &Value) -> bool {
        matches!(value, Value::Text(_))
    }

    fn read(&self, at: At<'_>, reader: &Reader<'_>) -> Option<Secret> {
        let Value::Text(text) = &at.node.value else {
            reader.hide(at.node.spot);
            wrong_type(at, reader, &self.kind());
            return None;
        };
        let resolved = if let Some(name) = text.strip_prefix("env:") {
            from_environment(name)
        } else if let Some(path) = text.strip_prefix("file:") {
            from_file(&reader.resolve(at.node.spot, path))
        } else {
            reader.hide(at.node.spot);
            Ok(text.clone())
        };
        let resolved = resolved.and_then(|secret| match secret.as_str() {
            "" => Err(Fault::new("the secret is empty")),
            _ => Ok(Secret::new(secret)),
        });
        resolved.map_err(|fault| reader.fault(at, fault)).ok()
    }
}

fn from_environment(name: &str) -> Result<String, Fault> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Fault::new("`env:` is not followed by the name of an environment variable")
            .hint("write \"env:NAME\""));
    }
    env::var(name).map_err(|error| match error {
        env::VarError::NotPresent => {
            Fault::new(format!("the environment variable `{name}` is not set"))
                .hint("set it for this process, for example with Environment= in its systemd unit")
        }
        env::VarError::NotUnicode(_) => {
            Fault::new(format!("the environment variable `{name}` is not UTF-8 text"))
        }
    })
}

/// The file's text without the newline that editors leave at its end.
fn from_file(path: &Path) -> Result<String, Fault> {
    let text = source::read_bounded(path, MAX_SECRET_BYTES).map_err(|error| {
        Fault::new(format!("cannot read the secret from {}: {error}", path.display()))
            .hint("the path is relative to the configuration file")
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
