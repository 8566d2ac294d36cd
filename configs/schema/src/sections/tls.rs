//! `[listeners.NAME.tls]` and `[clusters.NAME.tls]`.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use super::{HOUR, MILLISECOND, SECOND};
use crate::{
    address::host_name,
    certificate::{self, Chain},
    model::{
        ClientAuth, ClientSslMode, ClusterTls, Hsts, Identity, ListenerTls, RevocationLists,
        ServerCertificate, ServerName, TlsVersions, Trust, Verify,
    },
    read::{
        Fault, Format, Key, Scope, Word, boolean, duration, either, list, located, table, text,
        words,
    },
    report::Finding,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    Tls12,
    Tls13,
}

const VERSIONS: &[Word<Version>] =
    &[Word::is("1.2", Version::Tls12, "RFC 5246."), Word::is("1.3", Version::Tls13, "RFC 8446.")];

const CLIENT_AUTH: &[Word<bool>] = &[
    Word::is("required", true, "A client without a valid certificate is refused."),
    Word::is("optional", false, "A client may show one; a bad one is refused."),
];

pub(super) const PEM: &str = "the path of a file in PEM";
const CLIENT_SSL_MODES: &[Word<Option<ClientSslMode>>] = &[
    Word::is("disable", None, "There is none: as if the table were absent."),
    Word::is("allow", Some(ClientSslMode::Allow), "They may ask for it."),
    Word::is("prefer", Some(ClientSslMode::Prefer), "Likewise."),
    Word::is("require", Some(ClientSslMode::Require), "They are refused without."),
    Word::is(
        "verify-ca",
        Some(ClientSslMode::VerifyCa),
        "They must show a certificate, too: needs `client_auth`.",
    ),
    Word::is(
        "verify-full",
        Some(ClientSslMode::VerifyFull),
        "Likewise; whose name it must bear is for `auth` to say.",
    ),
];
const DAYS_365: Duration = Duration::from_secs(365 * 86_400);

/// `[listeners.NAME.tls]`.
pub(super) fn listener_tls(t: &mut Scope<'_>) -> Option<ListenerTls> {
    let certificates = t.required(
        Key::new("certificates", "Certificates with their keys. A client gets the one for the name it asks for (exact names before wildcards), else the first. Two for the same name may differ in the kind of key (ECDSA and RSA): a client gets one it understands."),
        list(located(table(server_certificate))).not_empty(),
    );
    let versions = versions(t);
    let alpn = t.optional(
        Key::new("alpn", "Protocols agreed on inside the handshake (ALPN), most wanted first. Absent: `[\"h2\", \"http/1.1\"]` with `http`, or without `h2` where `http2 = false`; none with `tcp`."),
        list(alpn()),
    );
    let handshake_timeout = t.or(
        Key::new(
            "handshake_timeout",
            "From the connection to the end of the handshake; then it is closed.",
        ),
        duration(MILLISECOND..=HOUR),
        "15s",
    );
    let session_tickets = t.or(
        Key::new("session_tickets", "Whether clients can resume their sessions by tickets. Their keys change every few hours, are shared by all shards and survive reloads."),
        boolean(),
        true,
    );
    let sslmode = t.optional(
        Key::new("sslmode", "With `postgres`: what clients have to do about TLS, in PgBouncer's words; `\"require\"` when absent. Clients on a Unix socket have none and need none; cancel requests are taken without, as old clients cannot encrypt them."),
        words(CLIENT_SSL_MODES),
    );
    let client_auth = t.optional(
        Key::new("client_auth", "Asks clients for certificates. Absent: they are not asked."),
        table(client_auth),
    );
    let misread = t.has("client_auth") && client_auth.is_none();
    let hsts = t.optional(
        Key::new("hsts", "With `http`: tells browsers to come by https only (`Strict-Transport-Security`); `{}` takes every default."),
        table(hsts),
    );
    let certificates = certificates?;
    unused_names(
        t,
        &certificates
            .iter()
            .map(|one| (&one.value, one.spot, one.path.as_str()))
            .collect::<Vec<_>>(),
    );
    // Clients must never be let in because what refuses them was misread.
    (!misread).then_some(ListenerTls {
        certificates: certificates.into_iter().map(|one| one.value).collect(),
        versions: versions?,
        alpn: alpn.unwrap_or_default(),
        handshake_timeout,
        session_tickets,
        client_auth,
        sslmode: sslmode.unwrap_or(Some(ClientSslMode::Require)),
        hsts,
    })
}

fn server_certificate(t: &mut Scope<'_>) -> Option<ServerCertificate> {
    let own = own_identity(t);
    let names = t.optional(
        Key::new("names", "Names that choose this certificate, such as `\"example.com\"` or `\"*.example.com\"`. Absent: the names it was issued for."),
        list(text("a name such as \"example.com\" or \"*.example.com\"", Some(r"^(\*\.)?[A-Za-z0-9_.-]+$"), certificate::server_name)).not_empty(),
    );
    let ocsp = t.optional(
        Key::new("ocsp", "A response of the authority's OCSP responder, in DER, handed to clients with the certificate (stapling)."),
        text("the path of a file in DER", None, certificate::ocsp_response),
    );
    let (identity, own_names) = own?;
    let names_of_its_own = names.is_none();
    Some(ServerCertificate { identity, names: names.unwrap_or(own_names), names_of_its_own, ocsp })
}

/// `[admin.tls]`: one certificate, for whoever asks.
pub(super) fn admin_tls(t: &mut Scope<'_>) -> Option<Identity> {
    Some(own_identity(t)?.0)
}

const KEY: Key = Key::new("key", "The private key of the own certificate, in PEM, not encrypted.");

/// The certificate that is always shown, and the names it was issued for.
fn own_identity(t: &mut Scope<'_>) -> Option<(Identity, Vec<ServerName>)> {
    let chain = t.required(
        Key::new(
            "certificate",
            "The certificate chain, in PEM: the own certificate first, then those that issued it.",
        ),
        text(PEM, None, certificate::chain),
    );
    let key = t.required(KEY, text(PEM, None, certificate::key));
    identity(t, chain?, "certificate", &key?)
}

/// A certificate that is shown to who asks for one; `None`: it was misread.
pub(super) fn shown_identity(t: &mut Scope<'_>) -> Option<Option<Identity>> {
    let chain = t.optional(
        Key::new("certificate", "A certificate chain to show to who asks for one, in PEM: the own certificate first, then those that issued it. Goes with `key`."),
        text(PEM, None, certificate::chain),
    );
    let key = t.optional(KEY, text(PEM, None, certificate::key));
    pairing(t);
    match (chain, key) {
        (Some(chain), Some(key)) => Some(Some(identity(t, chain, "certificate", &key)?.0)),
        _ if t.has("certificate") || t.has("key") => None,
        _ => Some(None),
    }
}

/// Puts both together; reports what does not fit, and dates that have passed.
fn identity(
    t: &Scope<'_>,
    chain: Chain,
    chain_key: &str,
    key: &certificate::Key,
) -> Option<(Identity, Vec<ServerName>)> {
    if let (Some(remark), Some(spot)) = (certificate::dates(&chain), t.key_spot(chain_key)) {
        t.reader().push(
            Finding::warning(remark)
                .at(spot, &t.path_of(chain_key))
                .hint("it is served all the same; clients will refuse it"),
        );
    }
    match certificate::identity(chain, key) {
        Ok(identity) => Some(identity),
        Err(Fault { message, hint }) => {
            let spot = t.key_spot("key").unwrap_or(t.spot());
            let finding = Finding::error(message).at(spot, &t.path_of("key"));
            t.reader().push(finding.maybe_hint(hint));
            None
        }
    }
}

/// A certificate that no name leads to is never shown, unless it is the first.
fn unused_names(t: &Scope<'_>, certificates: &[(&ServerCertificate, crate::source::Spot, &str)]) {
    let mut seen: HashMap<(&ServerName, _), _> = HashMap::new();
    for (number, (one, spot, path)) in certificates.iter().enumerate() {
        if number > 0 && one.names.is_empty() {
            let finding = Finding::warning("no name leads to this certificate").at(*spot, path);
            t.reader().push(finding.hint("give it `names`, or have it issued for some"));
        }
        let kind = certificate::key_kind(&one.identity);
        for name in &one.names {
            if let Some(first) = seen.insert((name, kind), *spot) {
                let message = format!(
                    "an earlier certificate with the same kind of key is for `{name}` already"
                );
                t.reader().push(
                    Finding::warning(message)
                        .at(*spot, path)
                        .related(first, "the earlier one")
                        .hint("this one is not shown for that name"),
                );
            }
        }
    }
}

fn client_auth(t: &mut Scope<'_>) -> Option<ClientAuth> {
    let required = t.or(
        Key::new("mode", "Whether a client has to show a certificate."),
        words(CLIENT_AUTH),
        "required",
    );
    let roots = t.required(
        Key::new("ca", "Certificates of the authorities that issue those of clients, in PEM."),
        text(PEM, None, certificate::authorities),
    );
    let crls = crls(t);
    let trust = Trust { roots: roots?, crls: crls? };
    Some(ClientAuth { required, trust })
}

pub(super) fn crls(t: &mut Scope<'_>) -> Option<Arc<[RevocationLists]>> {
    let lists = t.optional(
        Key::new("crls", "Revocation lists (CRLs), in PEM or DER: certificates on them are refused. Each authority in the chain needs one, once there are any."),
        list(text("the path of a revocation list", None, certificate::revocation_lists)),
    );
    Some(lists.unwrap_or_default().into())
}

fn hsts(t: &mut Scope<'_>) -> Option<Hsts> {
    let max_age = t.or(
        Key::new("max_age", "How long browsers remember it."),
        duration(SECOND..=10 * DAYS_365),
        "365d",
    );
    let include_subdomains = t.or(
        Key::new("include_subdomains", "For every name below this one, too."),
        boolean(),
        false,
    );
    let preload = t.or(
        Key::new("preload", "Asks to be put on the list that browsers bring along; hard to undo."),
        boolean(),
        false,
    );
    Some(Hsts { max_age, include_subdomains, preload })
}

pub(super) fn versions(t: &mut Scope<'_>) -> Option<TlsVersions> {
    let min = t.or(
        Key::new("min_version", "The oldest version of TLS that is spoken."),
        words(VERSIONS),
        "1.2",
    );
    let max = t.or(
        Key::new("max_version", "The newest version of TLS that is spoken."),
        words(VERSIONS),
        "1.3",
    );
    if min > max {
        let spot = t.key_spot("max_version").unwrap_or(t.spot());
        t.reader().push(
            Finding::error("`max_version` is below `min_version`")
                .at(spot, &t.path_of("max_version"))
                .hint("leave it out to speak TLS 1.3"),
        );
        return None;
    }
    Some(TlsVersions { tls12: min == Version::Tls12, tls13: max == Version::Tls13 })
}

fn alpn() -> impl Format<Output = Arc<str>> {
    text("a protocol such as \"http/1.1\"", Some("^[!-~]{1,255}$"), |name: &str, _: &Path| match (1
        ..=255)
        .contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_graphic())
    {
        true => Ok(Arc::from(name)),
        false => Err(Fault::new("a protocol has 1 to 255 visible ASCII characters")),
    })
}

/// `[clusters.NAME.tls]`; `tls = true` takes every default.
pub(super) fn cluster_tls() -> impl Format<Output = Option<ClusterTls>> {
    let switch = boolean().map(|on| {
        on.then(|| ClusterTls {
            verify: Verify::System { crls: Arc::default() },
            server_name: None,
            identity: None,
            alpn: Vec::new(),
            versions: TlsVersions { tls12: true, tls13: true },
        })
    });
    either(switch, table(cluster_table).map(Some))
}

fn cluster_table(t: &mut Scope<'_>) -> Option<ClusterTls> {
    let verify = t.or(
        Key::new("verify", "Whether an endpoint has to prove who it is. `false` protects against nobody but eavesdroppers."),
        boolean(),
        true,
    );
    let ca = t.optional(
        Key::new("ca", "Certificates of the authorities that issue those of the endpoints, in PEM. Absent: those this host trusts."),
        text(PEM, None, certificate::authorities),
    );
    let crls = crls(t);
    let server_name: Option<Arc<str>> = t.optional(
        Key::new("server_name", "The name asked for (SNI) and verified. Absent: the endpoint's host name; for an IP address, that address (without SNI)."),
        text("a host name", None, |name: &str, _: &Path| host_name(name).map(|()| Arc::from(name.to_ascii_lowercase()))),
    );
    let identity = shown_identity(t);
    let alpn = t.optional(
        Key::new(
            "alpn",
            "Protocols offered inside the handshake (ALPN), most wanted first. Absent: none.",
        ),
        list(alpn()),
    );
    let versions = versions(t);
    let misread = ["ca", "server_name"]
        .iter()
        .zip([ca.is_none(), server_name.is_none()])
        .any(|(name, missing)| t.has(name) && missing);
    if !verify {
        unverified(t);
    }
    let (identity, crls) = (identity?, crls?);
    let verify = match (verify, ca) {
        (false, _) => Verify::Nothing,
        (true, Some(roots)) => Verify::Authorities(Trust { roots, crls }),
        (true, None) => Verify::System { crls },
    };
    let alpn = alpn.unwrap_or_default();
    (!misread).then_some(ClusterTls { verify, server_name, identity, alpn, versions: versions? })
}

/// A certificate without its key, or the other way round.
fn pairing(t: &Scope<'_>) {
    for (here, there) in [("certificate", "key"), ("key", "certificate")] {
        if let (Some(spot), false) = (t.key_spot(here), t.has(there)) {
            let finding = Finding::error(format!("`{here}` is without its `{there}`"));
            t.reader().missing(finding.at(spot, &t.path_of(here)).hint(format!("add `{there}`")));
        }
    }
}

fn unverified(t: &Scope<'_>) {
    for name in ["ca", "crls"] {
        if let Some(spot) = t.key_spot(name) {
            let finding = Finding::error(format!("`{name}` has no meaning with `verify = false`"));
            t.reader().push(finding.at(spot, &t.path_of(name)).hint("remove one of them"));
        }
    }
}
