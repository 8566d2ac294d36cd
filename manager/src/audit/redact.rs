//! Secrets do not belong in a log that is kept for ever.

use serde_json::Value;

use super::definition;

/// What stands where a secret was.
const HIDDEN: &str = "(hidden)";
/// Levels of nesting that are looked into; deeper ones are hidden whole.
const MAX_DEPTH: usize = 32;
/// Bytes of one string that are kept.
const MAX_TEXT_BYTES: usize = 4_096;

/// Parts of a field's name that make its value a secret.
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "authorization",
    "cookie",
    "dsn",
];
/// Fields whose values are the environment of a program: names stay, values go.
const ENVIRONMENTS: [&str; 3] = ["env", "environment", "envs"];

/// The field that holds the description of a service, or where it is.
const DEFINITION: &str = "definition";

/// `value` without what looks like a secret: by the name of its field, as a
/// variable of a program's environment, or as the password in a URL.
pub(super) fn redacted(value: &Value) -> Value {
    within(value, 0)
}

fn within(value: &Value, depth: usize) -> Value {
    if depth == MAX_DEPTH {
        return Value::from(HIDDEN);
    }
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), field(name, value, depth))).collect()
        }
        Value::Array(items) => items.iter().map(|item| within(item, depth + 1)).collect(),
        Value::String(text) => Value::from(text_without_secrets(text)),
        other => other.clone(),
    }
}

fn field(name: &str, value: &Value, depth: usize) -> Value {
    if value.is_null() {
        return Value::Null;
    }
    if is_secret(name) && !value.is_boolean() && !is_path_segment(value) {
        return Value::from(HIDDEN);
    }
    if name == DEFINITION
        && let Value::String(text) = value
        && text.contains(['=', '\n'])
    {
        return match definition::told(text) {
            Some(told) => within(&told, depth + 1),
            None => Value::from(HIDDEN),
        };
    }
    if ENVIRONMENTS.contains(&name.to_ascii_lowercase().as_str()) {
        return environment(value);
    }
    within(value, depth + 1)
}

/// Numbers of things that are called after secrets (`tokens: 3`) tell nothing.
fn is_path_segment(value: &Value) -> bool {
    value.is_number()
}

fn is_secret(name: &str) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| plain.contains(secret)) || plain == "key"
}

fn environment(value: &Value) -> Value {
    match value {
        Value::Object(variables) => {
            variables.keys().map(|name| (name.clone(), Value::from(HIDDEN))).collect()
        }
        Value::Array(lines) => lines.iter().map(environment).collect(),
        Value::String(line) => {
            let name = line.split_once('=').map(|(name, _)| name);
            Value::from(name.map_or_else(|| HIDDEN.to_owned(), |name| format!("{name}={HIDDEN}")))
        }
        other => other.clone(),
    }
}

/// `scheme://user:password@host` without the password; long text cut.
fn text_without_secrets(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len().min(MAX_TEXT_BYTES));
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(['/', '?', '#', ' ', '"', '\'']).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                out.push_str(&format!("{user}:{HIDDEN}@{host}"));
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    if out.len() > MAX_TEXT_BYTES {
        let cut = out.floor_char_boundary(MAX_TEXT_BYTES);
        out.truncate(cut);
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        let before = json!({
            "name": "web",
            "password": "hunter2",
            "api_key": "hunter2",
            "nested": [{ "clientSecret": "hunter2", "port": 80 }],
            "env": { "DATABASE_URL": "hunter2", "PORT": "80" },
            "environment": ["A=hunter2", "hunter2"],
            "url": "postgres://app:hunter2@db.example:5432/app?x=1",
            "definition": "port = 80\n# hunter2\n[environment]\nTOKEN = \"hunter2\"\n",
            "broken": { "definition": "TOKEN = hunter2" },
            "known": { "definition": "/etc/bs9/services/web.toml" },
            "tokens": 3,
            "token_expires": true,
            "none": null,
        });
        let after = redacted(&before);
        assert!(!after.to_string().contains("hunter2"), "{after}");
        assert_eq!(after["name"], "web");
        assert_eq!(after["nested"][0]["port"], 80);
        assert_eq!(after["env"]["PORT"], HIDDEN);
        assert_eq!(after["environment"][0], "A=(hidden)");
        assert_eq!(after["url"], "postgres://app:(hidden)@db.example:5432/app?x=1");
        assert_eq!(after["definition"]["port"], 80);
        assert_eq!(after["definition"]["environment"]["TOKEN"], HIDDEN);
        assert_eq!(after["known"]["definition"], "/etc/bs9/services/web.toml");
        assert_eq!(after["tokens"], 3);
        assert_eq!(after["token_expires"], true);
    }

    #[test]
    fn deep_and_long_values_are_bounded() {
        let deep = (0..100).fold(json!("x"), |inner, _| json!([inner]));
        assert!(redacted(&deep).to_string().len() < 200);
        let long = json!("é".repeat(10_000));
        assert!(redacted(&long).as_str().unwrap().len() <= MAX_TEXT_BYTES + 4);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = text_without_secrets(&text);
        }

        #[test]
        fn passwords_in_urls_never_stay(user in "[a-z]{1,8}", host in "[a-z]{1,8}") {
            let text = format!("see http://{user}:S3CRET@{host}/ and http://{user}:S3CRET@{host}");
            prop_assert!(!text_without_secrets(&text).contains("S3CRET"));
        }
    }
}
