//! Text with parts of the request in it, ready to be written.

use std::sync::Arc;

use bs9_config::{Part, Pattern};

use super::parts::{Found, Groups, PathParts, RequestParts};
use super::prefix::Prefix;
use crate::http1::authority::split_port;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Text {
    pieces: Box<[Piece]>,
    /// The expression whose groups are among the pieces.
    groups: Option<Arc<Groups>>,
}

#[derive(Debug)]
enum Piece {
    Plain(Box<[u8]>),
    Scheme,
    Host,
    Path,
    Query,
    Rest(Prefix),
    Segment(usize),
    Group(usize),
}

impl Text {
    /// Compiles `pattern`, with the parts of `path`.
    pub(super) fn compile(pattern: &Pattern, path: &PathParts) -> Result<Self, String> {
        let pieces = pattern.0.iter().map(|piece| match piece {
            bs9_config::Piece::Text(text) => Ok(Piece::Plain(text.as_bytes().into())),
            bs9_config::Piece::Part(part) => {
                compile(part, path).ok_or_else(|| format!("there is no part `{{{part}}}` here"))
            }
        });
        let groups = match path {
            PathParts::Groups(groups) => Some(Arc::clone(groups)),
            PathParts::Segments { .. } => None,
        };
        let pieces: Box<[Piece]> = pieces.collect::<Result<_, _>>()?;
        let has_groups = pieces.iter().any(|piece| matches!(piece, Piece::Group(_)));
        Ok(Self { pieces, groups: groups.filter(|_| has_groups) })
    }

    /// Appends the text, filled in.
    pub(super) fn write(&self, parts: &RequestParts<'_>, out: &mut Vec<u8>) {
        let found = self.groups.as_ref().map(|groups| groups.find(parts.path));
        self.write_with(parts, found.as_ref(), out);
    }

    /// Likewise, with groups that have been found already.
    pub(super) fn write_with(
        &self,
        parts: &RequestParts<'_>,
        found: Option<&Found<'_>>,
        out: &mut Vec<u8>,
    ) {
        for piece in &self.pieces {
            let value = match piece {
                Piece::Plain(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Piece::Scheme => parts.scheme(),
                Piece::Host => parts.host.map_or("", |host| split_port(host).0),
                Piece::Path => parts.path,
                Piece::Query => parts.query.unwrap_or_default(),
                Piece::Rest(prefix) => prefix.rest(parts.path),
                Piece::Segment(number) => segment(parts.path, *number),
                Piece::Group(number) => found.map_or("", |found| &parts.path[found.group(*number)]),
            };
            push_part(out, value);
        }
    }
}

fn compile(part: &Part, path: &PathParts) -> Option<Piece> {
    Some(match (part, path) {
        (Part::Scheme, _) => Piece::Scheme,
        (Part::Host, _) => Piece::Host,
        (Part::Path, _) => Piece::Path,
        (Part::Query, _) => Piece::Query,
        (Part::Rest, PathParts::Segments { prefix, .. }) => Piece::Rest(prefix.clone()?),
        (Part::Named(name), PathParts::Segments { names, .. }) => {
            Piece::Segment(names.iter().find(|(own, _)| **own == **name)?.1)
        }
        (Part::Named(name), PathParts::Groups(groups)) => Piece::Group(groups.number_of(name)?),
        (Part::Group(number), PathParts::Groups(_)) => Piece::Group(*number),
        (Part::Rest, PathParts::Groups(_)) | (Part::Group(_), PathParts::Segments { .. }) => {
            return None;
        }
    })
}

fn segment(path: &str, number: usize) -> &str {
    path.split('/').nth(number + 1).unwrap_or_default()
}

/// Browsers take a backslash for a slash: one from the request must not end a host, or begin one.
fn push_part(out: &mut Vec<u8>, value: &str) {
    let mut pieces = value.split('\\');
    out.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        out.extend_from_slice(b"%5C");
        out.extend_from_slice(piece.as_bytes());
    }
}
