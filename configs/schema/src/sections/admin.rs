//! `[admin]` of both processes.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use super::{
    name::{NAME, check_name},
    tls::admin_tls,
};
use crate::{
    address,
    model::{Admin, AdminPeer, AdminToken, PeerId, RateLimit, Role, Secret},
    read::{
        Fault, Format, Key, Located, Scope, Word, integer, list, located, secret, table, text,
        words,
    },
    report::Finding,
};

const ROLES: &[Word<Role>] = &[
    Word::is("viewer", Role::Viewer, "Reads."),
    Word::is(
        "operator",
        Role::Operator,
        "Reads and operates: drain, weights, endpoints, reload, pause.",
    ),
    Word::is("admin", Role::Admin, "Everything."),
];

/// The data plane's.
pub(super) fn admin(t: &mut Scope<'_>) -> Option<Admin> {
    read(
        t,
        "Unix socket of the admin API, guarded by peer credentials. Absent: `$XDG_RUNTIME_DIR/bs9/dataplane.sock`, else `/run/bs9/dataplane.sock`.",
    )
}

/// The manager's.
pub(super) fn manager_admin(t: &mut Scope<'_>) -> Option<Admin> {
    read(
        t,
        "Unix socket of the admin API, guarded by peer credentials. Absent: `$XDG_RUNTIME_DIR/bs9/manager.sock`, else `/run/bs9/manager.sock`.",
    )
}

fn read(t: &mut Scope<'_>, socket_doc: &'static str) -> Option<Admin> {
    let socket = t.optional(
        Key::new("socket", socket_doc),
        text("a path", None, |path: &str, folder| {
            address::socket_path(path.strip_prefix("unix:").unwrap_or(path), folder)
        }),
    );
    let listen = t.optional(
        Key::new("listen", "TCP address of the admin API. Without a token only `/metrics` and `/health/*` answer there."),
        text("an address such as \"127.0.0.1:9901\"", None, address::listen),
    );
    let tokens = t.optional(
        Key::new("tokens", "Bearer tokens for the TCP address, one `[[admin.tokens]]` for each."),
        list(located(table(token))),
    );
    let tokens = tokens.unwrap_or_default();
    unique(t, &tokens);
    let tls = t.optional(
        Key::new("tls", "TLS on the TCP address. Absent: plaintext, which is for loopback and private networks only."),
        table(admin_tls),
    );
    // What was meant to be sealed must never be served in the open.
    let misread = t.has("tls") && tls.is_none();
    let peers = t.optional(
        Key::new("peers", "Who may use the Unix socket besides root and the user bs9 runs as, one `[[admin.peers]]` for each. With any, the socket's mode lets everybody connect, and credentials decide."),
        list(table(peer)),
    );
    let origins = t.optional(
        Key::new("origins", "Where pages in a browser may come from besides this server itself, such as `\"https://ops.example.com\"`. Calls from other pages are refused."),
        list(text("an origin such as \"https://ops.example.com\"", Some(r"^https?://[A-Za-z0-9.:\[\]-]+$"), origin)),
    );
    let rate_limit = t.section(
        Key::new(
            "rate_limit",
            "How often one address may call over TCP; beyond that it is answered 429.",
        ),
        table(rate_limit),
    );
    (!misread).then_some(Admin {
        socket,
        listen,
        tls,
        tokens: tokens.into_iter().map(|token| token.value).collect(),
        peers: peers.unwrap_or_default(),
        origins: origins.unwrap_or_default(),
        rate_limit: rate_limit?,
    })
}

fn peer(t: &mut Scope<'_>) -> Option<AdminPeer> {
    let id = || integer::<u32>(0..=i64::from(u32::MAX));
    let uid = t.optional(Key::new("uid", "The number of a user."), id());
    let gid = t.optional(
        Key::new("gid", "The number of a group: the one a process runs with, supplementary groups are not seen."),
        id(),
    );
    let role = t.required(
        Key::new("role", "What it may do; each role includes the ones before it."),
        words(ROLES),
    );
    let who = match (uid, gid) {
        (Some(uid), None) => PeerId::User(uid),
        (None, Some(gid)) => PeerId::Group(gid),
        _ if (t.has("uid") && uid.is_none()) || (t.has("gid") && gid.is_none()) => return None,
        _ => {
            t.reader().push(
                Finding::error("a peer is one user or one group")
                    .at(t.spot(), t.path())
                    .hint("give it either `uid` or `gid`"),
            );
            return None;
        }
    };
    Some(AdminPeer { who, role: role? })
}

/// Scheme, host and port as a browser writes them (RFC 6454, section 6.2).
fn origin(text: &str, _: &std::path::Path) -> Result<Arc<str>, Fault> {
    let wrong = || {
        Fault::new(format!("`{text}` is not an origin"))
            .hint("a scheme and a host, with a port where it is not the usual one, and no path")
    };
    let text = text.to_ascii_lowercase();
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = host.ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
    if host.is_empty() || !host.chars().all(plain) {
        Err(wrong())
    } else {
        Ok(text.as_str().into())
    }
}

fn rate_limit(t: &mut Scope<'_>) -> Option<RateLimit> {
    let count =
        || integer::<u32>(1..=1_000_000).map(|n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN));
    Some(RateLimit {
        calls_per_second: t.or(
            Key::new("calls_per_second", "Calls a second, in the long run."),
            count(),
            i64::from(RateLimit::DEFAULT_CALLS_PER_SECOND),
        ),
        burst: t.or(
            Key::new("burst", "Calls at once after a pause."),
            count(),
            i64::from(RateLimit::DEFAULT_BURST),
        ),
        wrong_tokens: t.or(
            Key::new("wrong_tokens", "Wrong tokens at once after a pause; another one each 6 s."),
            count(),
            i64::from(RateLimit::DEFAULT_WRONG_TOKENS),
        ),
    })
}

fn token(t: &mut Scope<'_>) -> Option<AdminToken> {
    let name = t.required(
        Key::new("name", "Who it is, for logs and audit."),
        text(NAME.what, NAME.pattern, |name: &str, _| check_name(name).map(|()| name.into())),
    );
    let role = t.required(
        Key::new("role", "What the token allows; each role includes the ones before it."),
        words(ROLES),
    );
    let token =
        t.required(Key::new("token", "The token itself; visible ASCII only."), located(secret()));
    let token = token.and_then(|token| sendable(t, token));
    Some(AdminToken { name: name?, role: role?, token: token? })
}

/// A bearer token travels in a header field (RFC 6750, section 2.1).
fn sendable(t: &Scope<'_>, token: Located<Secret>) -> Option<Secret> {
    if token.value.reveal().bytes().all(|b| b.is_ascii_graphic()) {
        return Some(token.value);
    }
    let finding = Finding::error("a token has visible ASCII only").at(token.spot, &token.path);
    t.reader().push(finding.hint("make one with: openssl rand -hex 32"));
    None
}

fn unique(t: &Scope<'_>, tokens: &[Located<AdminToken>]) {
    let mut names = HashMap::new();
    let mut secrets = HashMap::new();
    for token in tokens {
        let same_name = names.insert(&token.value.name, token.spot);
        let same_secret = secrets.insert(token.value.token.reveal(), token.spot);
        let (first, message) = match (same_name, same_secret) {
            (Some(first), _) => {
                (first, format!("the name `{}` is given to two tokens", token.value.name))
            }
            (None, Some(first)) => (first, "two tokens are the same secret".to_owned()),
            (None, None) => continue,
        };
        t.reader().push(
            Finding::error(message).at(token.spot, &token.path).related(first, "the first one"),
        );
    }
}
