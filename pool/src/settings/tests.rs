use proptest::prelude::*;

use super::*;

fn reported(pairs: &[(&str, &str)]) -> Settings {
    let mut parameters = Parameters::default();
    for (name, value) in pairs {
        parameters.set(name.as_bytes(), value.as_bytes());
    }
    parameters.settings()
}

fn asked(pairs: &[(&str, &str)]) -> Asked {
    Asked::new(pairs.iter().copied()).unwrap()
}

fn names<'a>(changes: &[Change<'a>]) -> Vec<(&'a str, Option<&'a str>)> {
    let text = |value: &'a [u8]| std::str::from_utf8(value).unwrap();
    changes.iter().map(|change| (change.name, change.value.map(text))).collect()
}

#[test]
fn only_what_follows_clients_is_kept_of_what_servers_report() {
    let settings = reported(&[("server_version", "15.1"), ("TimeZone", "UTC")]);
    assert_eq!(settings.reported(b"timezone"), Some(&b"UTC"[..]));
    assert_eq!(settings.reported(b"server_version"), None);
}

#[test]
fn names_are_compared_without_case_and_later_ones_win() {
    let asked = asked(&[("datestyle", "german"), ("work_mem", "1MB"), ("DATESTYLE", "ISO")]);
    let wanted = reported(&[("DateStyle", "SQL, DMY")]).with(&asked);
    assert_eq!(wanted.reported(b"DateStyle"), Some(&b"ISO"[..]));
}

#[test]
fn names_that_are_none_are_refused() {
    for bad in ["", "a b", "1a", "a.", ".a", "a;b", "ä", "a=b"] {
        assert!(Asked::new([(bad, "1")].into_iter()).is_err(), "{bad}");
    }
    for good in ["a", "_x", "geqo_effort", "my.own_setting", "A$1"] {
        assert!(Asked::new([(good, "1")].into_iter()).is_ok(), "{good}");
    }
    let many: Vec<String> = (0..=MAX_ASKED).map(|n| format!("s{n}")).collect();
    assert_eq!(Asked::new(many.iter().map(|n| (&**n, "1"))), Err(AskedError::TooMany));
}

#[test]
fn a_server_is_changed_where_it_differs_and_reset_where_nobody_asked() {
    let base = reported(&[("TimeZone", "UTC"), ("DateStyle", "ISO, MDY")]);
    let one = base.with(&asked(&[("extra_float_digits", "3"), ("TimeZone", "CET")]));
    let other = base.with(&asked(&[("work_mem", "1MB")]));
    let changes = base.changes_to(&one, true);
    assert_eq!(names(&changes), [("extra_float_digits", Some("3")), ("TimeZone", Some("CET"))]);
    let changes = one.changes_to(&other, true);
    assert_eq!(
        names(&changes),
        [("TimeZone", Some("UTC")), ("work_mem", Some("1MB")), ("extra_float_digits", None)]
    );
}

#[test]
fn what_is_not_known_any_more_is_set_again() {
    let base = reported(&[("TimeZone", "UTC")]);
    let one = base.with(&asked(&[("work_mem", "1MB")]));
    assert_eq!(one.changes_to(&one, true), []);
    assert_eq!(names(&one.changes_to(&one, false)), [("work_mem", Some("1MB"))]);
}

#[test]
fn the_servers_spelling_replaces_the_clients() {
    let base = reported(&[("DateStyle", "ISO, MDY"), ("TimeZone", "UTC")]);
    let wanted = base.with(&asked(&[("DateStyle", "german"), ("work_mem", "1MB")]));
    let server = reported(&[("DateStyle", "German, DMY"), ("TimeZone", "UTC")]);
    let confirmed = wanted.confirmed_by(&server);
    let news: Vec<_> = confirmed.news(&wanted).collect();
    assert_eq!(news, [("DateStyle", &b"German, DMY"[..])]);
    assert_eq!(names(&server.changes_to(&confirmed, true)), [("work_mem", Some("1MB"))]);
}

#[test]
fn known_settings_are_shared_and_bounded() {
    let mut known = KnownSettings::default();
    let settings = reported(&[("TimeZone", "UTC")]);
    let first = known.share(settings.clone());
    assert!(Arc::ptr_eq(&first, &known.share(settings)));
    for n in 0..10 * MAX_KNOWN {
        let zone = n.to_string();
        let shared = known.share(reported(&[("TimeZone", &zone)]));
        known.learn(asked(&[("TimeZone", &zone)]), &shared);
    }
    assert_eq!((known.recent.len(), known.learned.len()), (MAX_KNOWN, MAX_KNOWN));
    let last = (10 * MAX_KNOWN - 1).to_string();
    assert!(known.recall(&asked(&[("timezone", &last)])).is_some());
    assert!(known.recall(&asked(&[("timezone", "0")])).is_none());
    known.forget();
    assert!(known.recall(&asked(&[("timezone", &last)])).is_none());
}

#[test]
fn changes_are_one_batch_of_well_formed_messages() {
    use bs9_wire::{frame::Frame, message::FrontendMessage};
    let base = reported(&[("TimeZone", "UTC")]).with(&asked(&[("a.b", "1")]));
    let wanted = reported(&[("TimeZone", "it's"), ("DateStyle", "")]);
    let changes = base.changes_to(&wanted, true);
    let mut out = Vec::new();
    write_changes(&mut out, &changes);
    let mut rest = &out[..];
    let mut tags = String::new();
    while let Some(frame) = Frame::<FrontendTag>::parse(rest).unwrap() {
        FrontendMessage::read(frame.tag, frame.body).unwrap();
        tags.push(char::from(frame.bytes[0]));
        rest = &rest[frame.bytes.len()..];
    }
    assert_eq!((tags.as_str(), rest.len()), ("PBES", 0));
}

fn any_settings() -> impl Strategy<Value = (Settings, Asked)> {
    let value = "[a-c]{0,2}";
    let base = (value, value)
        .prop_map(|(zone, style)| reported(&[("TimeZone", &zone), ("DateStyle", &style)]));
    let name = prop::sample::select(vec!["TimeZone", "datestyle", "x", "y", "z"]);
    let asked = prop::collection::vec((name, value), 0..5).prop_map(|pairs| {
        Asked::new(pairs.iter().map(|(name, value)| (*name, value.as_str()))).unwrap()
    });
    (base, asked)
}

proptest! {
    /// Whatever a server has: making the changes leaves it with what the client wants.
    #[test]
    fn changes_lead_to_what_is_wanted((base, one) in any_settings(), (_, other) in any_settings()) {
        let (has, wanted) = (base.with(&one), base.with(&other));
        let mut server = has.clone();
        for change in has.changes_to(&wanted, true) {
            match change.value {
                Some(value) => server.set(change.name, value, false),
                None => server.entries.retain(|entry| *entry.name != *change.name),
            }
        }
        prop_assert_eq!(&server, &wanted);
        prop_assert!(server.changes_to(&wanted, true).is_empty());
    }
}
