//! `[postgres.server_tls]` and `[postgres.databases.NAME.tls]`.

use std::{path::Path, sync::Arc};

use crate::{
    address::host_name,
    certificate,
    model::{ChannelBinding, ClusterTls, DatabaseTls, SslMode, Trust, Verify},
    read::{Key, Scope, Word, text, words},
    report::Finding,
    sections::tls::{PEM, crls, shown_identity, versions},
};

/// The protocol's name in a handshake (PostgreSQL 17).
pub(in crate::sections) const ALPN: &str = "postgresql";

const SSL_MODES: &[Word<Option<SslMode>>] = &[
    Word::is("disable", None, "Never."),
    Word::is("allow", Some(SslMode::Allow), "When the server refuses the login without."),
    Word::is("prefer", Some(SslMode::Prefer), "When the server has it."),
    Word::is("require", Some(SslMode::Require), "Or no connection; anybody's certificate will do."),
    Word::is(
        "verify-ca",
        Some(SslMode::VerifyCa),
        "Or no connection; `ca` must vouch for the server.",
    ),
    Word::is(
        "verify-full",
        Some(SslMode::VerifyFull),
        "Likewise, and the certificate must be for the server's name.",
    ),
];

const NEGOTIATIONS: &[Word<bool>] = &[
    Word::is("postgres", false, "The server is asked first."),
    Word::is(
        "direct",
        true,
        "The handshake comes first, which saves a round trip. Needs PostgreSQL 17 and `sslmode = \"require\"` or stricter.",
    ),
];

const CHANNEL_BINDINGS: &[Word<ChannelBinding>] = &[
    Word::is("disable", ChannelBinding::Disable, "Never."),
    Word::is("prefer", ChannelBinding::Prefer, "When the server offers it."),
    Word::is(
        "require",
        ChannelBinding::Require,
        "Or no connection: nobody in between can take part in the login.",
    ),
];

/// `Some(None)`: no TLS, and said so.
pub(super) fn server_tls(t: &mut Scope<'_>) -> Option<Option<Arc<DatabaseTls>>> {
    let sslmode = t.or(
        Key::new(
            "sslmode",
            "How much TLS is insisted on, as libpq has it. Over a Unix socket there is never any.",
        ),
        words(SSL_MODES),
        "verify-full",
    );
    let roots = t.optional(
        Key::new("ca", "Certificates of the authorities that issue those of servers, in PEM. Absent with `verify-full`: those this host trusts."),
        text(PEM, None, certificate::authorities),
    );
    let crls = crls(t);
    let server_name: Option<Arc<str>> = t.optional(
        Key::new("server_name", "The name asked for (SNI) and verified. Absent: `host`; for an IP address, that address (without SNI)."),
        text("a host name", None, |name: &str, _: &Path| host_name(name).map(|()| Arc::from(name.to_ascii_lowercase()))),
    );
    let identity = shown_identity(t);
    let direct = t.or(Key::new("negotiation", "How TLS begins."), words(NEGOTIATIONS), "postgres");
    let channel_binding = t.or(
        Key::new(
            "channel_binding",
            "Whether a SCRAM login is bound to the server's certificate (`SCRAM-SHA-256-PLUS`).",
        ),
        words(CHANNEL_BINDINGS),
        "prefer",
    );
    let versions = versions(t);
    let misread = ["ca", "server_name"]
        .iter()
        .zip([roots.is_none(), server_name.is_none()])
        .any(|(name, missing)| t.has(name) && missing);
    check(t, sslmode, direct, channel_binding);
    let (identity, crls, versions) = (identity?, crls?, versions?);
    let Some(sslmode) = sslmode else { return Some(None) };
    let verify = match (sslmode, roots) {
        (SslMode::Allow | SslMode::Prefer | SslMode::Require, _) => Verify::Nothing,
        (SslMode::VerifyCa, Some(roots)) => Verify::AnyName(Trust { roots, crls }),
        (SslMode::VerifyFull, Some(roots)) => Verify::Authorities(Trust { roots, crls }),
        (SslMode::VerifyFull, None) => Verify::System { crls },
        // Has been reported.
        (SslMode::VerifyCa, None) => return None,
    };
    let alpn = vec![ALPN.into()];
    let tls = Arc::new(ClusterTls { verify, server_name, identity, alpn, versions });
    (!misread).then(|| Some(Arc::new(DatabaseTls { sslmode, direct, channel_binding, tls })))
}

/// What does not go with what.
fn check(t: &Scope<'_>, sslmode: Option<SslMode>, direct: bool, binding: ChannelBinding) {
    let refuse = |key: &str, message: &str, hint: &str| {
        let spot = t.key_spot(key).unwrap_or(t.spot());
        t.reader().push(Finding::error(message).at(spot, &t.path_of(key)).hint(hint));
    };
    let word = |mode| SSL_MODES.iter().find(|word| word.means(&mode)).map_or("", |word| word.text);
    let verifies = matches!(sslmode, Some(SslMode::VerifyCa | SslMode::VerifyFull));
    for key in ["ca", "crls"] {
        if t.has(key) && !verifies {
            let message = format!("`{key}` has no meaning with sslmode = \"{}\"", word(sslmode));
            refuse(key, &message, "use sslmode = \"verify-full\", or \"verify-ca\"");
        }
    }
    if sslmode == Some(SslMode::VerifyCa) && !t.has("ca") {
        let finding = Finding::error("sslmode = \"verify-ca\" needs `ca`")
            .at(t.spot(), t.path())
            .hint("anybody can have a certificate of a public authority for some name");
        t.reader().missing(finding);
    }
    let weak = !verifies && sslmode != Some(SslMode::Require);
    if direct && weak {
        let message = format!(
            "negotiation = \"direct\" cannot fall back, as sslmode = \"{}\" wants to",
            word(sslmode)
        );
        refuse("negotiation", &message, "use sslmode = \"require\", or a stricter one");
    }
    if binding == ChannelBinding::Require && weak {
        let message = format!(
            "channel_binding = \"require\" needs TLS, which sslmode = \"{}\" does not insist on",
            word(sslmode)
        );
        refuse("channel_binding", &message, "use sslmode = \"require\", or a stricter one");
    }
}
