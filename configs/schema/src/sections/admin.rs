//! `[admin]` of both processes.

use std::collections::HashMap;

use super::name::{NAME, check_name};
use crate::{
    address,
    model::{Admin, AdminToken, Role, Secret},
    read::{Key, Located, Scope, Word, list, located, secret, table, text, words},
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
    Some(Admin { socket, listen, tokens: tokens.into_iter().map(|token| token.value).collect() })
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
