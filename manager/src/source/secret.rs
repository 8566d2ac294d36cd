//! Secrets that stand in a source or in a description, by their well-known forms and by how
//! random they look. What was found is never told, only where and of what kind.

use std::sync::LazyLock;

use bs9_api::types::SourceSeverity;
use regex::Regex;

use super::{mask::Masked, rule::Spotted};

/// What is recognised by its form alone.
struct Form {
    what: &'static str,
    pattern: LazyLock<Regex>,
}

macro_rules! forms {
    ($($what:literal: $pattern:literal,)+) => {
        [$(Form {
            what: $what,
            pattern: LazyLock::new(|| {
                Regex::new($pattern).expect("the pattern is fixed, and tested")
            }),
        },)+]
    };
}

static FORMS: [Form; 17] = forms! {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,})\b",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abposr]-[A-Za-z0-9-]{16,}",
    "a Slack webhook": r"https://hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{16,}",
    "a Stripe key": r"\b[sr]k_live_[A-Za-z0-9]{16,}",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "an OpenAI or Anthropic key": r"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",
    "a Twilio key": r"\bSK[0-9a-f]{32}\b",
    "a Telegram bot token": r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b",
    "a DigitalOcean token": r"\bdo[opr]_v1_[a-f0-9]{64}\b",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s/:@$'{}<>]+:[^\s/@$'{}<>]{3,}@[^\s/'@]+",
};

/// A name that says that a secret follows.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)(secret|token|passw(or)?d|passphrase|api_?key|private_?key|access_?key|credential|auth_?key)s?$")
        .expect("the pattern is fixed, and tested")
});
/// Names before a text: `name = '…'`, `name: '…'`, `"name": "…"`.
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z_][A-Za-z0-9_-]*)['"]?\s*(?:\?\?|\|\||[:=])?\s*[:=]\s*$|([A-Za-z_][A-Za-z0-9_]*)=$"#)
        .expect("the pattern is fixed, and tested")
});

/// Words of values that stand for a secret to be put there.
const PLACEHOLDERS: [&str; 15] = [
    "example",
    "changeme",
    "change-me",
    "change_me",
    "placeholder",
    "your-",
    "your_",
    "xxxx",
    "todo",
    "dummy",
    "sample",
    "test",
    "fake",
    "localhost",
    "127.0.0.1",
];

/// Shortest value that is judged by how random it looks.
const MIN_RANDOM: usize = 16;
/// Bits a character from which on it looks random; English words have about 3 at this length.
const MIN_BITS: f64 = 3.3;

/// What kind of secret a text has in it.
pub(super) fn kind(text: &str) -> Option<&'static str> {
    let found = FORMS.iter().find_map(|form| Some((form.what, form.pattern.find(text)?)))?;
    let (what, place) = found;
    (!is_placeholder(place.as_str())).then_some(what)
}

/// Whether a value that is named as a secret is one, going by its looks.
pub(super) fn looks_secret(name: &str, value: &str) -> bool {
    NAMED.is_match(name)
        && value.len() >= MIN_RANDOM
        && !value.contains(char::is_whitespace)
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !is_placeholder(value)
        && !value.contains("://")
        && !value.starts_with(['/', '.', '$', '{', '<'])
        && bits(value) >= MIN_BITS
}

fn is_placeholder(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    PLACEHOLDERS.iter().any(|word| value.contains(word))
}

/// Shannon's entropy of the characters, in bits each.
fn bits(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}

const HINT: &str = "take it from the environment; in the description as \"env:NAME\" or \"file:PATH\", or in a file of `environment_files` with mode 600. One that was committed counts as known: revoke it";

/// Secrets in a source.
pub(super) fn look(text: &str, masked: &Masked) -> Vec<Spotted> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(what) = kind(line) {
            found.push(Spotted {
                rule: "secret-in-source",
                severity: SourceSeverity::Blocking,
                at: start + (line.len() - line.trim_start().len()),
                message: format!("what looks like {what} stands in the source"),
                hint: HINT,
            });
        }
        start += line.len();
    }
    for literal in masked.literals.iter().filter(|literal| literal.fixed) {
        let value = &text[literal.inner.clone()];
        let quote = literal.inner.start.saturating_sub(1);
        let line = text[..quote].rfind('\n').map_or(0, |at| at + 1);
        let Some(name) = BEFORE.captures(&text[line..quote]) else { continue };
        let name = name.get(1).or_else(|| name.get(2)).map_or("", |name| name.as_str());
        if looks_secret(name, value) && kind(value).is_none() {
            found.push(Spotted {
                rule: "random-secret-in-source",
                severity: SourceSeverity::Warning,
                at: quote,
                message: format!("`{name}` is given what looks like a secret"),
                hint: HINT,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::language::Language, *};

    /// Put together here, so that nobody takes this file for one with secrets in it.
    fn samples() -> Vec<String> {
        let letters = "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5";
        let [aws, gh, sk] = [["AK", "IA"], ["gh", "p_"], ["sk_", "live_"]].map(|p| p.concat());
        vec![
            format!("-----BEGIN {} KEY-----", "RSA PRIVATE"),
            format!("{aws}Z7QW3RTY5UIPLKJH"),
            format!("{gh}{letters}"),
            format!("{sk}{letters}"),
            format!("{}{letters}", ["xo", "xb-1"].concat()),
            format!("{}{}", ["AI", "za"].concat(), &letters[..35]),
            format!("{}.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{}", "eyJhbGciOiJIUzI1NiJ9", letters),
            format!("postgres://app:{}@db.internal/app", "hJ9kL1mN3p"),
        ]
    }

    #[test]
    fn well_known_forms_are_recognised_and_never_told() {
        for sample in samples() {
            let text = format!("const x = '{sample}'\n");
            let masked = Masked::new(&text, Language::JavaScript);
            let found = look(&text, &masked);
            assert_eq!(found.len(), 1, "{sample}: {found:?}");
            assert_eq!(found[0].severity, SourceSeverity::Blocking);
            assert!(!found[0].message.contains(&sample[8..]), "{found:?}");
        }
    }

    #[test]
    fn what_stands_for_a_secret_is_none() {
        for text in [
            "postgres://user:${PASSWORD}@db/app",
            "postgres://user:password@localhost/test",
            "https://example.com:8080/a@b",
            "AKIAIOSFODNN7EXAMPLE",
            "token: sk-your-key-goes-here-with-enough-letters",
            "http://{user}:{password}@host/",
        ] {
            assert_eq!(kind(text), None, "{text}");
        }
    }

    #[test]
    fn random_values_count_where_the_name_says_secret() {
        let random = "q8Zr2Lw9XcV4bN7m";
        let cases = [
            ("const apiKey = '", random, true),
            ("  \"password\": \"", random, true),
            ("DB_PASSWORD = \"", random, true),
            ("const checksum = '", random, false),
            ("const apiKey = '", "process.env.API_KEY", false),
            ("const token_name = '", random, false),
            ("secret = '", "aaaaaaaaaaaaaaa1", false),
            ("passwordField = '", "input#password-1", false),
            ("const password = '", "correct horse battery 1", false),
        ];
        for (before, value, expected) in cases {
            let quote = before.chars().last().unwrap();
            let text = format!("{before}{value}{quote}\n");
            let masked = Masked::new(&text, Language::JavaScript);
            assert_eq!(!look(&text, &masked).is_empty(), expected, "{text}");
        }
    }
}
