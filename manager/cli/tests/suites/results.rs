//! What became of tests.

use std::{collections::BTreeMap, fmt};

/// By name: whether it passed. What was left out is not there.
#[derive(Default)]
pub(crate) struct Results(BTreeMap<String, bool>);

impl Results {
    /// The short summary of `pytest -rA`.
    pub(crate) fn of_pytest(said: &str) -> Self {
        let mut results = Self::default();
        for line in said.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or_default();
            let passed = match word.split('(').next() {
                Some("PASSED") => true,
                Some("FAILED" | "ERROR" | "SUBFAILED") => false,
                _ => continue,
            };
            // A test's parameters, and those of a part of one, may have spaces in them.
            let rest = rest.split(" - ").next().unwrap_or_default();
            let at = ["tests/", "test/"].iter().find_map(|folder| rest.find(folder));
            let name = at.map(|at| rest[at..].trim_end());
            if let Some(name) = name.filter(|name| name.contains("::")) {
                results.note(name, passed);
            }
        }
        results
    }

    /// Rust's own harness.
    pub(crate) fn of_libtest(said: &str) -> Self {
        let mut results = Self::default();
        for line in said.lines() {
            let Some((name, outcome)) =
                line.strip_prefix("test ").and_then(|line| line.split_once(" ... "))
            else {
                continue;
            };
            match outcome {
                "ok" => results.note(name, true),
                "FAILED" => results.note(name, false),
                _ => {}
            }
        }
        results
    }

    /// The report that mocha writes as JSON.
    pub(crate) fn of_mocha(report: &str) -> Self {
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        let mut results = Self::default();
        for (list, passed) in [("passes", true), ("failures", false)] {
            for test in report[list].as_array().unwrap() {
                results.note(test["fullTitle"].as_str().unwrap(), passed);
            }
        }
        results
    }

    /// One that failed once did not pass.
    fn note(&mut self, name: &str, passed: bool) {
        *self.0.entry(name.to_owned()).or_insert(true) &= passed;
    }

    pub(crate) fn passed(&self) -> usize {
        self.0.values().filter(|passed| **passed).count()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn failed(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, passed)| !**passed).map(|(name, _)| name.as_str()).collect()
    }

    /// Tests that passed here and did not there.
    pub(crate) fn passed_only_in(&self, there: &Self) -> Vec<String> {
        let here = self.0.iter().filter(|(_, passed)| **passed).map(|(name, _)| name);
        here.filter(|name| !there.0.get(*name).is_some_and(|passed| *passed)).cloned().collect()
    }
}

impl FromIterator<(String, bool)> for Results {
    fn from_iter<I: IntoIterator<Item = (String, bool)>>(outcomes: I) -> Self {
        let mut results = Self::default();
        for (name, passed) in outcomes {
            results.note(&name, passed);
        }
        results
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.passed(), self.0.len())
    }
}

#[test]
fn summaries_are_read() {
    let direct = Results::of_pytest(
        "PASSED tests/a.py::A::one\nPASSED tests/a.py::A::two[x y]\nPASSED tests/a.py::A::three\n\
         FAILED tests/a.py::A::four - x\nSKIPPED [1] tests/b.py:3: no\nPASSED tests/a.py::A::five\n",
    );
    let pooled = Results::of_pytest(
        "PASSED tests/a.py::A::one\nFAILED tests/a.py::A::two[x y] - because - of\n\
         PASSED tests/a.py::A::three\nSUBFAILED(type='time') tests/a.py::A::three - x\n",
    );
    assert_eq!((direct.passed(), pooled.passed()), (4, 1));
    let wanted = ["tests/a.py::A::five", "tests/a.py::A::three", "tests/a.py::A::two[x y]"];
    assert_eq!(direct.passed_only_in(&pooled), wanted);
    let rust = Results::of_libtest("test a::b ... ok\ntest c ... FAILED\ntest d ... ignored\n");
    assert_eq!(rust.to_string(), "1 of 2");
    let node = Results::of_mocha(
        r#"{"passes": [{"fullTitle": "a b"}, {"fullTitle": "c"}], "failures": [{"fullTitle": "c"}]}"#,
    );
    assert_eq!((node.to_string().as_str(), node.failed()), ("1 of 2", vec!["c"]));
}
