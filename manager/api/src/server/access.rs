//! Who calls, and what they may.

use std::{fmt, sync::Arc};

use bs9_config::{AdminToken, Role};
use http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use tokio::net::unix::UCred;

use crate::{
    endpoints::{Access, role_word},
    error::{ApiError, ProblemCode},
};

/// Who makes a call, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process on this machine, by the kernel's word (`SO_PEERCRED`, unix(7)).
    Peer {
        /// Its effective user.
        uid: u32,
        /// Its process id, when the kernel gives one.
        pid: Option<i32>,
    },
    /// Who holds a token.
    Token {
        /// The token's name.
        name: Arc<str>,
        /// What it may do.
        role: Role,
    },
    /// Nobody known.
    Anonymous,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { uid, pid: Some(pid) } => write!(f, "uid {uid} pid {pid}"),
            Self::Peer { uid, pid: None } => write!(f, "uid {uid}"),
            Self::Token { name, .. } => write!(f, "token {name}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

/// How a connection came in; decides how its caller is known. Rides along in
/// the extensions of every request.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    /// Over the Unix socket.
    Unix { uid: u32, pid: Option<i32> },
    /// Over TCP.
    Tcp(Arc<Tokens>),
}

impl Door {
    pub(super) fn of_peer(peer: &UCred) -> Self {
        Self::Unix { uid: peer.uid(), pid: peer.pid() }
    }

    /// Who makes a call with these headers, and in what role.
    fn identify(&self, headers: &HeaderMap) -> Result<(Caller, Option<Role>), ApiError> {
        match self {
            Self::Unix { uid, pid } => {
                identify_peer(*uid, *pid, rustix::process::geteuid().as_raw())
            }
            Self::Tcp(tokens) => tokens.identify(headers),
        }
    }

    /// Who makes a call with these headers, if that caller has `access`.
    ///
    /// # Errors
    ///
    /// 401 when nobody known calls what needs somebody, or with a token that is
    /// not known; 403 when the caller is known and may not.
    pub(super) fn admit(&self, access: Access, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let (caller, role) = self.identify(headers)?;
        if access.allows(role) {
            return Ok(caller);
        }
        Err(match (role, access.least_role()) {
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
        })
    }
}

/// Root and the user this process runs as may do everything, others nothing.
fn identify_peer(
    uid: u32,
    pid: Option<i32>,
    own_uid: u32,
) -> Result<(Caller, Option<Role>), ApiError> {
    if uid == 0 || uid == own_uid {
        return Ok((Caller::Peer { uid, pid }, Some(Role::Admin)));
    }
    Err(ApiError::new(
        ProblemCode::Forbidden,
        format!(
            "user {uid} may not use this socket; only root and user {own_uid}, which bs9 runs as, may"
        ),
    ))
}

/// The bearer tokens (RFC 6750) that open the TCP address.
#[derive(Debug)]
pub(crate) struct Tokens(Vec<AdminToken>);

impl Tokens {
    pub(super) fn new(tokens: Vec<AdminToken>) -> Self {
        Self(tokens)
    }

    fn identify(&self, headers: &HeaderMap) -> Result<(Caller, Option<Role>), ApiError> {
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            return Ok((Caller::Anonymous, None));
        };
        let unknown = || ApiError::new(ProblemCode::Unauthorized, "this token is not known");
        let token = bearer(header.as_bytes()).ok_or_else(|| {
            ApiError::new(
                ProblemCode::Unauthorized,
                "the Authorization header is not of the form: Bearer TOKEN",
            )
        })?;
        let known = self.find(token).ok_or_else(unknown)?;
        let caller = Caller::Token { name: Arc::clone(&known.name), role: known.role };
        Ok((caller, Some(known.role)))
    }

    /// Looks at every token whatever it finds, so that time says nothing about
    /// which one matched or how far.
    fn find(&self, presented: &[u8]) -> Option<&AdminToken> {
        let mut found = None;
        for known in &self.0 {
            let secret = known.token.reveal().as_bytes();
            if bool::from(secret.ct_eq(presented)) && !secret.is_empty() {
                found = Some(known);
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
    use bs9_config::Secret;

    use super::*;

    fn tokens() -> Tokens {
        let token = |name: &str, role, secret: &str| AdminToken {
            name: name.into(),
            role,
            token: Secret::new(secret),
        };
        Tokens::new(vec![
            token("grafana", Role::Viewer, "v-secret"),
            token("deploy", Role::Operator, "o-secret"),
            token("empty", Role::Admin, ""),
        ])
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
            let (caller, _) = tokens().identify(&with(header)).unwrap();
            assert_eq!(caller.to_string(), format!("token {name}"));
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
            let error = tokens().identify(&with(header)).unwrap_err();
            assert_eq!(error.code, ProblemCode::Unauthorized, "{header:?}");
        }
    }

    #[test]
    fn only_root_and_the_own_user_pass_the_socket() {
        assert_eq!(identify_peer(0, None, 1000).unwrap().1, Some(Role::Admin));
        assert_eq!(identify_peer(1000, Some(1), 1000).unwrap().1, Some(Role::Admin));
        let refused = identify_peer(1001, Some(1), 1000).unwrap_err();
        assert_eq!(refused.code, ProblemCode::Forbidden);
        assert!(refused.message.contains("1001"), "{refused}");
    }
}
