//! Who calls, and what they may.

use std::{fmt, net::SocketAddr, sync::Arc};

use bs9_config::{AdminPeer, AdminToken, PeerId, Role};
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use tokio::net::unix::UCred;

use super::{Caller, browser::Origins, rate::Limiter, witness::Witness};
use crate::{
    endpoints::{Endpoint, role_word},
    error::{ApiError, ProblemCode},
};

/// Tokens beside those of the configuration, such as ones made while running.
pub trait Keyring: fmt::Debug + Send + Sync {
    /// What is known of the token that was presented, if it works now. Takes as
    /// long whichever token it is, or none.
    fn find(&self, presented: &[u8]) -> Option<KnownToken>;
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownToken {
    /// Who it is.
    pub name: Arc<str>,
    /// What it allows.
    pub role: Role,
}

/// What decides over calls: the same for every connection of a server.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(super) tokens: Vec<AdminToken>,
    pub(super) keyring: Option<Arc<dyn Keyring>>,
    pub(super) peers: Vec<AdminPeer>,
    pub(super) origins: Origins,
    pub(super) limiter: Limiter,
    pub(super) witness: Option<Arc<dyn Witness>>,
}

/// How a connection came in; decides how its caller is known. Rides along in
/// the extensions of every request.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(super) way: Way,
    pub(super) guard: Arc<Guard>,
}

/// The two ways in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// Over the Unix socket.
    Unix { uid: u32, gid: u32, pid: Option<i32> },
    /// Over TCP.
    Tcp { from: SocketAddr },
}

impl Way {
    pub(super) fn of_peer(peer: &UCred) -> Self {
        Self::Unix { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() }
    }
}

impl Door {
    /// Who makes a call with these headers, if that caller may.
    ///
    /// # Errors
    ///
    /// 401 when nobody known calls what needs somebody, or with a token that is
    /// not known; 403 when the caller is known and may not, or a page of another
    /// origin makes a browser call; 429 when the caller's address calls too often.
    pub(super) fn admit(
        &self,
        endpoint: Option<&Endpoint>,
        headers: &HeaderMap,
    ) -> Result<Caller, Refusal> {
        self.guard.origins.check(endpoint.is_some_and(Endpoint::changes), headers)?;
        let caller = self.identify(headers)?;
        let access = endpoint.map_or(crate::Access::Viewer, |endpoint| endpoint.access);
        if access.allows(caller.role()) {
            return Ok(caller);
        }
        let reason = match (caller.role(), access.least_role()) {
            (Some(role), Some(least)) => ApiError::new(
                ProblemCode::Forbidden,
                format!(
                    "{caller} has the role {}; this call needs {}",
                    role_word(role),
                    role_word(least)
                ),
            ),
            _ => ApiError::new(
                ProblemCode::Unauthorized,
                "this call needs a token: Authorization: Bearer …",
            ),
        };
        Err(Refusal { caller: caller.role().map(|_| caller), reason })
    }

    /// Who makes a call with these headers.
    fn identify(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        match self.way {
            Way::Unix { uid, gid, pid } => {
                let own = rustix::process::geteuid().as_raw();
                self.guard.identify_peer(uid, gid, pid, own)
            }
            Way::Tcp { from } => {
                let limiter = &self.guard.limiter;
                limiter.take_call(from.ip())?;
                let caller = self.guard.identify_token(from, headers);
                if caller.is_err() {
                    limiter.note_failure(from.ip());
                }
                caller
            }
        }
    }
}

/// Why a call is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Who called, when that is somebody known.
    pub(super) caller: Option<Caller>,
    pub(super) reason: ApiError,
}

impl From<ApiError> for Refusal {
    fn from(reason: ApiError) -> Self {
        Self { caller: None, reason }
    }
}

impl Guard {
    /// Root and the user this process runs as may do everything, listed peers
    /// what they are listed for, others nothing.
    fn identify_peer(
        &self,
        uid: u32,
        gid: u32,
        pid: Option<i32>,
        own_uid: u32,
    ) -> Result<Caller, ApiError> {
        let listed = self.peers.iter().filter(|peer| match peer.who {
            PeerId::User(user) => user == uid,
            PeerId::Group(group) => group == gid,
        });
        let role = if uid == 0 || uid == own_uid {
            Some(Role::Admin)
        } else {
            listed.map(|peer| peer.role).max()
        };
        role.map(|role| Caller::Peer { uid, pid, role }).ok_or_else(|| {
            ApiError::new(
                ProblemCode::Forbidden,
                format!(
                    "user {uid} may not use this socket; root and user {own_uid}, which bs9 runs as, may, and whom [[admin.peers]] lists"
                ),
            )
        })
    }

    /// By bearer token (RFC 6750).
    fn identify_token(&self, from: SocketAddr, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            return Ok(Caller::Anonymous { from });
        };
        let token = bearer(header.as_bytes()).ok_or_else(|| {
            ApiError::new(
                ProblemCode::Unauthorized,
                "the Authorization header is not of the form: Bearer TOKEN",
            )
        })?;
        // Both are asked whatever the first one says: time tells nothing.
        let made = self.keyring.as_ref().and_then(|keyring| keyring.find(token));
        let KnownToken { name, role } = self
            .configured(token)
            .or(made)
            .ok_or_else(|| ApiError::new(ProblemCode::Unauthorized, "this token is not known"))?;
        Ok(Caller::Token { name, role, from })
    }

    /// Looks at every token whatever it finds, so that time says nothing about
    /// which one matched or how far.
    fn configured(&self, presented: &[u8]) -> Option<KnownToken> {
        let mut found = None;
        for known in &self.tokens {
            let secret = known.token.reveal().as_bytes();
            if bool::from(secret.ct_eq(presented)) && !secret.is_empty() {
                found = Some(KnownToken { name: Arc::clone(&known.name), role: known.role });
            }
        }
        found
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110,
/// section 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use bs9_config::{RateLimit, Secret};

    use super::*;

    fn guard() -> Guard {
        let token = |name: &str, role, secret: &str| AdminToken {
            name: name.into(),
            role,
            token: Secret::new(secret),
        };
        Guard {
            tokens: vec![
                token("grafana", Role::Viewer, "v-secret"),
                token("deploy", Role::Operator, "o-secret"),
                token("empty", Role::Admin, ""),
            ],
            keyring: None,
            peers: vec![
                AdminPeer { who: PeerId::User(1002), role: Role::Viewer },
                AdminPeer { who: PeerId::Group(50), role: Role::Operator },
            ],
            origins: Origins::new(&[]),
            limiter: Limiter::new(RateLimit::default()),
            witness: None,
        }
    }

    fn from() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 4711))
    }

    fn with(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn tokens_are_matched_whole() {
        let known = [
            ("Bearer v-secret", "grafana"),
            ("bearer o-secret", "deploy"),
            ("BEARER   o-secret ", "deploy"),
        ];
        for (header, name) in known {
            let caller = guard().identify_token(from(), &with(header)).unwrap();
            assert_eq!(caller.to_string(), format!("token {name}"));
            assert_eq!(caller.from(), "192.0.2.1:4711");
        }
        let unknown = [
            "Bearer v-secre",
            "Bearer v-secrets",
            "Bearer ",
            "Bearer",
            "Basic v-secret",
            "v-secret",
            "",
        ];
        for header in unknown {
            let error = guard().identify_token(from(), &with(header)).unwrap_err();
            assert_eq!(error.code, ProblemCode::Unauthorized, "{header:?}");
        }
    }

    #[test]
    fn root_the_own_user_and_whom_the_configuration_lists_pass_the_socket() {
        let rows = [
            (0, 0, Some(Role::Admin)),
            (1000, 1000, Some(Role::Admin)),
            (1001, 1001, None),
            (1002, 1002, Some(Role::Viewer)),
            (1002, 50, Some(Role::Operator)),
            (1003, 50, Some(Role::Operator)),
        ];
        for (uid, gid, expected) in rows {
            let found = guard().identify_peer(uid, gid, Some(1), 1000);
            assert_eq!(found.as_ref().ok().and_then(Caller::role), expected, "{uid} {gid}");
            if let Err(refused) = found {
                assert_eq!(refused.code, ProblemCode::Forbidden);
                assert!(refused.message.contains(&uid.to_string()), "{refused}");
            }
        }
    }
}
