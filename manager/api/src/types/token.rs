//! Tokens that open the TCP address.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a caller may do; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Read.
    Viewer,
    /// Read, and operate.
    Operator,
    /// Everything.
    Admin,
}

impl From<RoleName> for bs9_config::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl From<bs9_config::Role> for RoleName {
    fn from(role: bs9_config::Role) -> Self {
        match role {
            bs9_config::Role::Viewer => Self::Viewer,
            bs9_config::Role::Operator => Self::Operator,
            bs9_config::Role::Admin => Self::Admin,
        }
    }
}

/// A token, without its secret, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenSummary {
    /// Who it is, for logs and audit.
    pub name: String,
    /// What it allows.
    pub role: RoleName,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it works; absent: for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// `GET /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Version of this shape.
    pub schema: u32,
    /// In name order.
    pub tokens: Vec<TokenSummary>,
}

/// A token to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Letters, digits, `-`, `_` and `.`; at most 64. Not that of a token that works.
    pub name: String,
    /// What it allows.
    pub role: RoleName,
    /// How long it works; absent: for ever.
    #[serde(default)]
    pub expires_in_seconds: Option<u64>,
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// Version of this shape.
    pub schema: u32,
    /// The token itself. It is shown this once.
    pub token: String,
    /// What is kept of it.
    pub summary: TokenSummary,
}

impl std::fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedToken").field("summary", &self.summary).finish_non_exhaustive()
    }
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenOutcome {
    /// Version of this shape.
    pub schema: u32,
    /// The token now.
    pub summary: TokenSummary,
}
