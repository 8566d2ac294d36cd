//! Names that people give to things.

use crate::{
    definition::TextForm,
    read::{Fault, Reader, nearest},
};

/// Bytes of a listener's or cluster's name.
const MAX_NAME_BYTES: usize = 64;
/// Bytes of a PostgreSQL identifier (`NAMEDATALEN` less its NUL).
pub(super) const MAX_POSTGRES_NAME_BYTES: usize = 63;

/// Listeners, clusters and tokens.
pub(super) const NAME: TextForm =
    TextForm { what: "a name", pattern: Some(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$") };
/// Databases and users.
pub(super) const POSTGRES_NAME: TextForm =
    TextForm { what: "a PostgreSQL name", pattern: Some(r"^.{1,63}$") };

/// Letters, digits, `_`, `-` and `.`: what needs no quoting in commands, URLs
/// and metric labels.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(fine)
        && !name.starts_with(['-', '.'])
    {
        return Ok(());
    }
    Err(Fault::new(format!("`{name}` is not a good name")).hint(format!(
        "use 1 to {MAX_NAME_BYTES} letters, digits, `_`, `-` or `.`, starting with a letter, a digit or `_`"
    )))
}

pub(super) fn check_postgres_name(name: &str) -> Result<(), Fault> {
    if (1..=MAX_POSTGRES_NAME_BYTES).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    Err(Fault::new(format!("`{name}` cannot be a PostgreSQL name"))
        .hint(format!("it has 1 to {MAX_POSTGRES_NAME_BYTES} bytes")))
}

/// What to say about a cluster that does not exist.
pub(super) fn unknown_cluster(name: &str, reader: &Reader<'_>) -> Fault {
    let fault = Fault::new(format!("there is no cluster `{name}`"));
    if let Some(near) = nearest(name, reader.clusters()) {
        return fault.hint(format!("did you mean `{near}`?"));
    }
    let known: Vec<_> = reader.clusters().take(5).collect();
    match known.as_slice() {
        [] => fault.hint(format!("add [clusters.{name}] with its endpoints")),
        known => fault.hint(format!("clusters are {}; or add [clusters.{name}]", known.join(", "))),
    }
}
