//! Whatever the text, reading it ends with a configuration or with a report.

use std::{fs, path::PathBuf, sync::LazyLock};

use bs9_config::{Report, parse_manager_str, parse_str};
use proptest::prelude::*;

static SAMPLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of samples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files.iter().map(|path| fs::read_to_string(path).expect("a sample")).collect()
});

/// Shows a report in every form, and checks that its places are in the text.
fn exercise(text: &str, report: &Report) {
    assert!(report.errors() > 0);
    for diagnostic in report.diagnostics() {
        if let Some(span) = &diagnostic.span {
            assert!(text.get(span.clone()).is_some(), "{span:?} is not in the text");
        }
    }
    assert!(!report.render(true).is_empty());
    assert!(!report.to_string().is_empty());
    assert_eq!(report.to_json()["valid"], false);
}

fn read(text: &str) {
    if let Err(report) = parse_str("a.toml", text) {
        exercise(text, &report);
    }
    if let Err(report) = parse_manager_str("a.toml", text) {
        exercise(text, &report);
    }
}

/// Text that TOML and this configuration have something to say about.
fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "[listeners.web]\n",
        "[[listeners.web.routes]]\n",
        "[clusters.api]\n",
        "[postgres]\n",
        "[postgres.users.a]\n",
        "protocol = \"http\"\n",
        "protocol = \"tcp\"\n",
        "bind = [\"[::1]:80\"]\n",
        "cluster = \"api\"\n",
        "\"\"\"",
        "'",
        "\"",
        "\n",
        "=",
        "[",
        "]",
        "{",
        "}",
        ",",
        "#",
        "host = ",
        "path = ",
        "password = ",
        "1s",
        "\"~(\"",
        "é",
        "\u{0}",
        "\r\n",
        "1979-05-27",
        "nan",
        "runtime.",
        "endpoints = ",
        "weight = ",
        "true",
        "-1",
        "0x10",
        "\t",
    ];
    let word = prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn likely_text(text in fragment()) {
        read(&text);
    }

    #[test]
    fn samples_with_something_else_in_them(
        sample in 0_usize..5, at in any::<prop::sample::Index>(), gone in 0_usize..40, put in fragment(),
    ) {
        let sample = &SAMPLES[sample % SAMPLES.len()];
        let chars: Vec<_> = sample.chars().collect();
        let at = at.index(chars.len() + 1);
        let after = (at + gone).min(chars.len());
        let text: String = chars[..at].iter().copied().chain(put.chars()).chain(chars[after..].iter().copied()).collect();
        read(&text);
    }

    #[test]
    fn addresses(text in any::<String>(), host in "[a-z0-9.:\\[\\]*-]{0,20}", port in any::<u16>()) {
        for text in [text, format!("{host}:{port}")] {
            if let Ok(address) = text.parse::<bs9_config::EndpointAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
            if let Ok(address) = text.parse::<bs9_config::BindAddress>() {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}

#[test]
fn deep_nesting_is_refused_without_a_crash() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}", "{ a = ".repeat(100_000)),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
    ] {
        read(&text);
    }
}
