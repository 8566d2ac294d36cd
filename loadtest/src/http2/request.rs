//! Requests as blocks of header fields: made once, apart from places that are filled each time.

use std::sync::Arc;

use super::hpack::{
    DEFAULT_TABLE_BYTES, ENTRY_OVERHEAD_BYTES, FIRST_DYNAMIC,
    encode::{self, Keep},
};
use crate::{
    checks::Checks,
    feed::{Feeder, Rows},
    http::{Call, Parts, RequestError},
    template::Template,
};

/// A request of the mix, and what has to come back.
#[derive(Debug)]
pub(super) struct Exchange {
    blocks: [Block; 3],
    body: Content,
    pub(super) used: Box<[usize]>,
    pub(super) checks: Checks,
}

/// What the other side remembers of earlier requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// Nothing yet; what all requests have in common is to be remembered.
    Blank,
    /// What all requests have in common.
    Filled,
    /// Nothing, and so it stays.
    None,
}

/// A body.
#[derive(Debug)]
enum Content {
    Fixed(Arc<[u8]>),
    Filled(Template),
}

/// A block of fields: bytes, and between them values that are filled.
#[derive(Debug, Default)]
struct Block {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Value(Template),
    /// The length of a body that is another one each time.
    BodyLength,
}

/// A field that is the same each time.
type Field = (String, Vec<u8>);

/// Fields of one request, in their order.
struct Fields<'a> {
    fields: Vec<(String, Value<'a>)>,
}

enum Value<'a> {
    Fixed(Vec<u8>),
    Filled(&'a Template),
    BodyLength,
}

/// All requests of a mix. `scheme` is `http` or `https`.
pub(super) fn exchanges(calls: Vec<Call>, scheme: &str) -> Result<Vec<Exchange>, RequestError> {
    let lists: Result<Vec<_>, _> =
        calls.iter().map(|call| Fields::of(call.request.parts(), scheme)).collect();
    let lists = lists?;
    let shared = in_common(&lists);
    let exchange = |(call, fields): (&Call, &Fields<'_>)| {
        let Parts { path, fields: headers, body, .. } = call.request.parts();
        let mut used = [path.used(), body.used()].concat();
        used.extend(headers.iter().flat_map(|(_, value)| value.used()));
        used.sort_unstable();
        used.dedup();
        Exchange {
            blocks: [Memory::Blank, Memory::Filled, Memory::None]
                .map(|memory| Block::new(fields, &shared, memory)),
            body: match body.fixed() {
                Some(bytes) => Content::Fixed(bytes.into()),
                None => Content::Filled(body.clone()),
            },
            used: used.into(),
            checks: call.checks.clone(),
        }
    };
    Ok(calls.iter().zip(&lists).map(exchange).collect())
}

/// What every request says the same way, as much of it as a table of the default size holds.
fn in_common(lists: &[Fields<'_>]) -> Vec<Field> {
    let Some((first, others)) = lists.split_first() else { return Vec::new() };
    let mut shared: Vec<Field> = Vec::new();
    let mut bytes = 0;
    for (name, value) in &first.fields {
        let Value::Fixed(value) = value else { continue };
        let field = (name.clone(), value.clone());
        let size = name.len() + value.len() + ENTRY_OVERHEAD_BYTES;
        let known = encode::field(&mut Vec::new(), name, value, Keep::Yes) == Keep::No;
        let everywhere = others.iter().all(|list| list.holds(&field));
        let fits = bytes + size <= DEFAULT_TABLE_BYTES;
        if !known && everywhere && fits && !shared.contains(&field) {
            bytes += size;
            shared.push(field);
        }
    }
    shared
}

// === impl Fields ===

impl<'a> Fields<'a> {
    fn of(parts: &'a Parts, scheme: &str) -> Result<Self, RequestError> {
        let fixed = |text: &str| Value::Fixed(text.as_bytes().to_vec());
        let value = |template: &'a Template| match template.fixed() {
            Some(bytes) => Value::Fixed(bytes),
            None => Value::Filled(template),
        };
        let is_host = |name: &str| name.eq_ignore_ascii_case("host");
        let host = parts.fields.iter().find(|(name, _)| is_host(name));
        let mut fields = vec![
            (":method".to_owned(), fixed(&parts.method)),
            (":scheme".to_owned(), fixed(scheme)),
        ];
        fields.extend(host.map(|(_, host)| (":authority".to_owned(), value(host))));
        fields.push((":path".to_owned(), value(&parts.path)));
        for (name, template) in parts.fields.iter().filter(|(name, _)| !is_host(name)) {
            let lower = name.to_ascii_lowercase();
            // These are a connection's, which HTTP/2 says otherwise (RFC 9113 section 8.2.2).
            if matches!(&*lower, "keep-alive" | "proxy-connection" | "te" | "http2-settings") {
                return Err(RequestError::Framing { name: name.clone() });
            }
            fields.push((lower, value(template)));
        }
        if parts.has_length {
            let length = match parts.body.fixed() {
                Some(body) => fixed(&body.len().to_string()),
                None => Value::BodyLength,
            };
            fields.push(("content-length".to_owned(), length));
        }
        Ok(Self { fields })
    }

    fn holds(&self, (name, value): &Field) -> bool {
        let same = |other: &Value<'_>| matches!(other, Value::Fixed(other) if other == value);
        self.fields.iter().any(|(other, value)| other == name && same(value))
    }
}

// === impl Block ===

impl Block {
    fn new(fields: &Fields<'_>, shared: &[Field], memory: Memory) -> Self {
        let mut block = Self::default();
        let mut kept = vec![false; shared.len()];
        for (name, value) in &fields.fields {
            let out = block.bytes();
            match value {
                Value::Fixed(value) => {
                    let place = shared.iter().position(|(n, v)| n == name && v == value);
                    match (place, memory) {
                        (Some(place), Memory::Filled) => {
                            // What was remembered last comes first.
                            encode::indexed(out, FIRST_DYNAMIC + shared.len() - 1 - place);
                        }
                        (Some(place), Memory::Blank) if !kept[place] => {
                            kept[place] = true;
                            encode::field(out, name, value, Keep::Yes);
                        }
                        _ => {
                            encode::field(out, name, value, Keep::No);
                        }
                    }
                }
                Value::Filled(template) => {
                    encode::literal_name(out, name, Keep::No);
                    block.pieces.push(Piece::Value((*template).clone()));
                }
                Value::BodyLength => {
                    encode::literal_name(out, name, Keep::No);
                    block.pieces.push(Piece::BodyLength);
                }
            }
        }
        block
    }

    /// Where bytes are appended.
    fn bytes(&mut self) -> &mut Vec<u8> {
        if !matches!(self.pieces.last(), Some(Piece::Bytes(_))) {
            self.pieces.push(Piece::Bytes(Vec::new()));
        }
        match self.pieces.last_mut() {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => unreachable!("it was pushed just now"),
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Appends the block of fields.
    pub(super) fn fill_block(
        &self,
        memory: Memory,
        feeder: &Feeder,
        rows: &Rows,
        out: &mut Vec<u8>,
    ) {
        for piece in &self.blocks[memory as usize].pieces {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(bytes),
                Piece::Value(template) => {
                    let mut value = Vec::new();
                    template.fill(feeder, rows, &mut value);
                    encode::string(out, &value);
                }
                Piece::BodyLength => {
                    if let Content::Filled(body) = &self.body {
                        encode::string(out, body.len(feeder, rows).to_string().as_bytes());
                    }
                }
            }
        }
    }

    /// Fills in the body, where it is another one each time.
    pub(super) fn fill_body(&self, feeder: &Feeder, rows: &Rows, out: &mut Vec<u8>) {
        if let Content::Filled(body) = &self.body {
            body.fill(feeder, rows, out);
        }
    }

    /// The body; `filled` is the one that was filled in.
    pub(super) fn body<'a>(&'a self, filled: &'a [u8]) -> &'a [u8] {
        match &self.body {
            Content::Fixed(body) => body,
            Content::Filled(_) => filled,
        }
    }
}
