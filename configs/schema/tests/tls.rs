//! TLS: what is read from files, and what is said when it does not serve.

use std::{fs, path::Path, sync::Arc, time::Duration};

use authority::Authority;
use bs9_config::{Config, ListenerTls, ServerName, Severity, Verify, check};

mod authority;

/// A folder with everything that the tests name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Authority::new("test");
    let site = ca.issue(&["example.com", "*.example.com"]);
    let old = ca.issue_expired(&["old.example.com"]);
    let nameless = ca.issue(&[]);
    let files = [
        ("ca.pem", ca.pem()),
        ("site.pem", format!("{}{}", site.chain, ca.pem())),
        ("reversed.pem", format!("{}{}", ca.pem(), site.chain)),
        ("site.key", site.key),
        ("old.pem", old.chain),
        ("old.key", old.key),
        ("nameless.pem", nameless.chain),
        ("nameless.key", nameless.key),
        ("ca.crl", ca.revocation_list()),
        ("empty.pem", "\n".to_owned()),
        ("text.pem", "hello\n".to_owned()),
        ("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
        (
            "encrypted.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
                .to_owned(),
        ),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    fs::write(folder.path().join("good.ocsp"), b"\x30\x03\x0a\x01\x00").expect("written");
    fs::write(folder.path().join("bad.ocsp"), b"\x30\x03\x0a\x01\x03").expect("written");
    folder
}

fn listener(tls: &str) -> String {
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\nroutes = [{{ cluster = \"api\" }}]\n\
         [clusters.api]\n[listeners.web.tls]\n{tls}"
    )
}

fn cluster(tls: &str) -> String {
    format!(
        "[listeners.web]\nbind = [\"127.0.0.1:0\"]\nprotocol = \"http\"\nroutes = [{{ cluster = \"api\" }}]\n\
         [clusters.api]\ntls = {tls}"
    )
}

fn read(folder: &Path, text: &str) -> bs9_config::Checked<Config> {
    let file = folder.join("bs9.toml");
    fs::write(&file, text).expect("written");
    check(&file)
}

fn tls(folder: &Path, text: &str) -> Arc<ListenerTls> {
    let checked = read(folder, &listener(text));
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    config.listeners["web"].tls.clone().expect("TLS")
}

const SITE: &str = "certificates = [{ certificate = \"site.pem\", key = \"site.key\" }]\n";

#[test]
fn a_certificate_brings_its_names_and_the_defaults_are_safe() {
    let folder = folder();
    let tls = tls(folder.path(), SITE);
    let [site] = tls.certificates.as_slice() else { panic!("{tls:?}") };
    let names =
        [ServerName::Exact("example.com".into()), ServerName::Wildcard("example.com".into())];
    assert_eq!(site.names, names);
    assert_eq!(site.identity.chain.len(), 2);
    assert!(tls.versions.tls12 && tls.versions.tls13 && tls.session_tickets);
    assert!(tls.client_auth.is_none() && tls.hsts.is_none());
    assert_eq!(tls.alpn, [Arc::from("h2"), Arc::from("http/1.1")]);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(15));
}

#[test]
fn everything_given_is_read() {
    let folder = folder();
    let tls = tls(
        folder.path(),
        "certificates = [{ certificate = \"site.pem\", key = \"site.key\", names = [\"A.example.org\"], ocsp = \"good.ocsp\" }]\n\
         min_version = \"1.3\"\nsession_tickets = false\nhandshake_timeout = \"3s\"\n\
         client_auth = { mode = \"optional\", ca = \"ca.pem\", crls = [\"ca.crl\"] }\n\
         hsts = { max_age = \"1d\", include_subdomains = true, preload = true }\n",
    );
    assert_eq!(tls.certificates[0].names, [ServerName::Exact("a.example.org".into())]);
    let ocsp = tls.certificates[0].ocsp.as_ref().expect("a response");
    assert_eq!(***ocsp, b"\x30\x03\x0a\x01\x00"[..]);
    assert!(!tls.versions.tls12 && tls.versions.tls13 && !tls.session_tickets);
    let client_auth = tls.client_auth.as_ref().expect("client_auth");
    assert!(!client_auth.required);
    assert_eq!((client_auth.trust.roots.len(), client_auth.trust.crls.len()), (1, 1));
    let hsts = tls.hsts.expect("hsts");
    assert!(hsts.include_subdomains && hsts.preload);
}

/// What each configuration is refused for.
#[test]
fn what_does_not_serve_is_refused_with_its_file_and_reason() {
    let folder = folder();
    let pair = |certificate: &str, key: &str| {
        listener(&format!(
            "certificates = [{{ certificate = \"{certificate}\", key = \"{key}\" }}]"
        ))
    };
    let with = |more: &str| listener(&format!("{SITE}{more}"));
    let cases = [
        (pair("no.pem", "site.key"), "no.pem: No such file"),
        (pair("site.pem", "no.key"), "no.key: No such file"),
        (pair("empty.pem", "site.key"), "empty.pem is empty"),
        (pair("text.pem", "site.key"), "text.pem holds no certificate"),
        (pair("broken.pem", "site.key"), "broken.pem: not a certificate"),
        (pair("site.key", "site.key"), "site.key holds a private key and no certificate"),
        (pair("site.pem", "site.pem"), "site.pem holds a certificate and no private key"),
        (pair("site.pem", "text.pem"), "text.pem holds no private key"),
        (pair("site.pem", "encrypted.key"), "the key in"),
        (pair("site.pem", "encrypted.key"), "is encrypted"),
        (pair("site.pem", "old.key"), "does not belong to the certificate in"),
        (pair("reversed.pem", "site.key"), "does not belong to the certificate in"),
        (listener("certificates = []"), "the list is empty"),
        (listener(""), "`certificates` is missing"),
        (with("min_version = \"1.1\""), "expected one of \"1.2\", \"1.3\""),
        (with("min_version = \"1.3\"\nmax_version = \"1.2\""), "`max_version` is below"),
        (with("client_auth = { ca = \"text.pem\" }"), "text.pem holds no certificate"),
        (with("client_auth = { ca = \"broken.pem\" }"), "cannot be trusted"),
        (with("client_auth = { mode = \"maybe\", ca = \"ca.pem\" }"), "found \"maybe\""),
        (
            with("client_auth = { ca = \"ca.pem\", crls = [\"ca.pem\"] }"),
            "holds no revocation list",
        ),
        (
            with("alpn = [\"h2\"]").replacen("\"http\"\n", "\"http\"\nhttp2 = false\n", 1),
            "\"h2\" in `alpn`, but `http2 = false`",
        ),
        (with("alpn = [\"spdy\"]"), "\"spdy\" in `alpn` is not supported"),
        (cluster("{ ca = \"no.pem\" }"), "no.pem: No such file"),
        (cluster("{ certificate = \"site.pem\" }"), "`certificate` is without its `key`"),
        (cluster("{ verify = false, ca = \"ca.pem\" }"), "`ca` has no meaning"),
        (cluster("{ server_name = \"a b\" }"), "`a b`"),
    ];
    for (text, expected) in cases {
        let checked = read(folder.path(), &text);
        assert!(checked.config.is_none(), "{text}");
        let report = checked.report.render(false);
        assert!(report.contains(expected), "{text}\n{report}");
    }
    let ocsp =
        "certificates = [{ certificate = \"site.pem\", key = \"site.key\", ocsp = \"bad.ocsp\" }]";
    let report = read(folder.path(), &listener(ocsp)).report.render(false);
    assert!(report.contains("the responder refused (status 3)"), "{report}");
}

#[test]
fn what_serves_badly_is_a_warning() {
    let folder = folder();
    let pairs = |pairs: &[&str]| {
        let entry =
            |name: &&str| format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}");
        let entries: Vec<_> = pairs.iter().map(entry).collect();
        listener(&format!("certificates = [{}]", entries.join(", ")))
    };
    let cases = [
        (pairs(&["old"]), "expired"),
        (pairs(&["site", "nameless"]), "no name leads to this certificate"),
        (pairs(&["site", "site"]), "is for `example.com` already"),
    ];
    for (text, expected) in cases {
        let checked = read(folder.path(), &text);
        assert!(checked.config.is_some(), "{text}\n{}", checked.report.render(false));
        let report = checked.report.render(false);
        assert!(report.contains(expected), "{text}\n{report}");
        let warns = |one: &bs9_config::Diagnostic| one.severity == Severity::Warning;
        assert!(checked.report.diagnostics().iter().all(warns));
    }
}

#[test]
fn a_renewed_certificate_is_a_change_of_its_listener_and_nothing_else() {
    let folder = folder();
    let text = listener(SITE);
    let before = read(folder.path(), &text).config.expect("valid");
    let again = read(folder.path(), &text).config.expect("valid");
    assert!(bs9_config::difference(&before, &again).is_empty());
    let renewed = Authority::new("test").issue(&["example.com"]);
    fs::write(folder.path().join("site.pem"), renewed.chain).expect("written");
    fs::write(folder.path().join("site.key"), renewed.key).expect("written");
    let after = read(folder.path(), &text).config.expect("valid");
    let difference = bs9_config::difference(&before, &after);
    assert_eq!(difference.to_string(), "listeners: ~web");
}

#[test]
fn a_key_is_never_shown() {
    let folder = folder();
    let tls = tls(folder.path(), SITE);
    let shown = format!("{tls:?}");
    let key = tls.certificates[0].identity.key.secret_der();
    let digits: Vec<_> = key[..8].iter().map(u8::to_string).collect();
    assert!(!shown.contains(&digits.join(", ")), "{shown}");
}

#[test]
fn tls_towards_endpoints() {
    let folder = folder();
    let read = |text: &str| {
        let checked = read(folder.path(), &cluster(text));
        let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
        config.clusters["api"].tls.clone()
    };
    assert!(read("false").is_none());
    assert!(matches!(read("true").expect("TLS").verify, Verify::System { .. }));
    assert_eq!(read("{ verify = false }").expect("TLS").verify, Verify::Nothing);
    let full = read(
        "{ ca = \"ca.pem\", crls = [\"ca.crl\"], server_name = \"API.internal\", certificate = \"site.pem\", key = \"site.key\" }",
    );
    let full = full.expect("TLS");
    assert_eq!(full.server_name.as_deref(), Some("api.internal"));
    assert!(full.identity.is_some());
    assert!(matches!(&full.verify, Verify::Authorities(trust) if trust.crls.len() == 1));
}

/// A configuration that names every kind of file, and its folder.
fn everything() -> (tempfile::TempDir, Config) {
    let folder = folder();
    let text = listener(
        "certificates = [{ certificate = \"site.pem\", key = \"site.key\", ocsp = \"good.ocsp\" }, \
         { certificate = \"old.pem\", key = \"old.key\", names = [\"fixed.example.com\"] }]\n\
         client_auth = { ca = \"ca.pem\", crls = [\"ca.crl\"] }\n\
         [clusters.api.tls]\nca = \"cluster-ca.pem\"\n",
    );
    fs::copy(folder.path().join("ca.pem"), folder.path().join("cluster-ca.pem")).expect("copied");
    let checked = read(folder.path(), &text);
    let config = checked.config.unwrap_or_else(|| panic!("{}", checked.report.render(false)));
    (folder, config)
}

#[test]
fn every_file_of_a_certificate_is_known() {
    let (folder, config) = everything();
    let files: Vec<_> = config
        .certificate_files()
        .iter()
        .map(|file| file.strip_prefix(folder.path()).expect("in the folder").display().to_string())
        .collect();
    let expected = [
        "ca.crl",
        "ca.pem",
        "cluster-ca.pem",
        "good.ocsp",
        "old.key",
        "old.pem",
        "site.key",
        "site.pem",
    ];
    assert_eq!(files, expected);
}

#[test]
fn what_did_not_change_is_not_renewed() {
    let (_folder, config) = everything();
    let renewal = config.renewed();
    assert!(renewal.renewed.is_empty() && renewal.stale.is_empty(), "{renewal:?}");
    assert_eq!(renewal.config, config);
    let tls = |config: &Config| Arc::as_ptr(config.listeners["web"].tls.as_ref().expect("TLS"));
    assert_eq!(tls(&renewal.config), tls(&config), "it is the same object");
}

#[test]
fn a_certificate_is_renewed_by_itself_and_brings_its_names() {
    let (folder, config) = everything();
    let new = Authority::new("new").issue(&["new.example.com"]);
    for (name, text) in [("site.pem", &new.chain), ("site.key", &new.key)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    // Neither this nor the file that names them all keeps it from being renewed.
    fs::write(folder.path().join("old.key"), "no key").expect("written");
    fs::write(folder.path().join("bs9.toml"), "is being edited [").expect("written");
    let renewal = config.renewed();
    let before = &config.listeners["web"].tls.as_ref().expect("TLS").certificates;
    let after = &renewal.config.listeners["web"].tls.as_ref().expect("TLS").certificates;
    assert_eq!(after[0].names, [ServerName::Exact("new.example.com".into())]);
    assert_ne!(after[0].identity, before[0].identity);
    assert_eq!(after[1], before[1]);
    assert_eq!(renewal.renewed.len(), 2);
    let [stale] = &renewal.stale[..] else { panic!("{renewal:?}") };
    assert_eq!((&*stale.key, &stale.path), ("listeners.web.tls", &folder.path().join("old.key")));
    // Names that were given stay.
    let again = Authority::new("new").issue(&["other.example.com"]);
    for (name, text) in [("old.pem", &again.chain), ("old.key", &again.key)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let renewal = renewal.config.renewed();
    let after = &renewal.config.listeners["web"].tls.as_ref().expect("TLS").certificates;
    assert_eq!(after[1].names, before[1].names);
    assert!(renewal.stale.is_empty());
}

#[test]
fn a_pair_that_does_not_fit_together_keeps_the_one_before() {
    let (folder, config) = everything();
    let new = Authority::new("new").issue(&["example.com"]);
    fs::write(folder.path().join("site.pem"), new.chain).expect("written");
    let renewal = config.renewed();
    assert_eq!(renewal.config, config);
    assert!(renewal.stale[0].message.contains("does not belong"), "{:?}", renewal.stale);
    fs::write(folder.path().join("site.key"), new.key).expect("written");
    assert!(config.renewed().stale.is_empty());
}

#[test]
fn a_response_for_the_certificate_before_is_dropped_with_it() {
    let (folder, config) = everything();
    let ocsp = |config: &Config| {
        let certificate = &config.listeners["web"].tls.as_ref().expect("TLS").certificates[0];
        !certificate.ocsp.as_ref().expect("its file is known").is_empty()
    };
    fs::write(folder.path().join("good.ocsp"), b"\x30\x03\x0a\x01\x03").expect("written");
    assert!(ocsp(&config.renewed().config), "the certificate is the same");
    let new = Authority::new("new").issue(&["example.com"]);
    for (name, text) in [("site.pem", &new.chain), ("site.key", &new.key)] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    let renewal = config.renewed();
    assert!(!ocsp(&renewal.config));
    assert_eq!(renewal.stale.len(), 1);
    fs::write(folder.path().join("good.ocsp"), b"\x30\x03\x0a\x01\x00").expect("written");
    assert!(ocsp(&renewal.config.renewed().config), "it is taken up once there is one");
}

#[test]
fn authorities_and_revocation_lists_are_renewed_too() {
    let (folder, config) = everything();
    let new = Authority::new("new");
    fs::write(folder.path().join("ca.pem"), new.pem()).expect("written");
    fs::write(folder.path().join("cluster-ca.pem"), new.pem()).expect("written");
    fs::write(folder.path().join("ca.crl"), new.revocation_list()).expect("written");
    let renewal = config.renewed();
    assert_eq!((renewal.renewed.len(), renewal.stale.len()), (3, 0), "{renewal:?}");
    assert_ne!(renewal.config.clusters["api"].tls, config.clusters["api"].tls);
    let auth =
        |config: &Config| config.listeners["web"].tls.as_ref().expect("TLS").client_auth.clone();
    assert_ne!(auth(&renewal.config), auth(&config));
}
