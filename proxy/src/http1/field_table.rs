//! The header fields of one head, sorted into what the proxy acts on and what it passes on.

use httparse::Header;

use super::connection::ConnectionOptions;
use super::error::FieldFault;
use super::field::{Field, list};
use super::framing::{Framing, FramingFields, without_leading_zeros};
use super::head::{MAX_HEADERS, Version};

/// A set of header lines, one bit each.
pub(super) type Lines = u128;
const _: () = assert!(MAX_HEADERS <= Lines::BITS as usize);

/// The header lines of a head that need attention when it is forwarded; all others are copied as
/// they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Not exactly `name: value CRLF`, or a length with leading zeros: written anew instead of
    /// copied.
    pub(super) irregular: Lines,
    /// Never forwarded: hop-by-hop fields and what `Connection` names.
    pub(super) hop_by_hop: Lines,
    pub(super) host: Lines,
    pub(super) upgrade: Lines,
    pub(super) expect: Lines,
    pub(super) content_length: Lines,
    pub(super) transfer_encoding: Lines,
    pub(super) forwarded_for: Lines,
    pub(super) forwarded_proto: Lines,
    pub(super) forwarded_host: Lines,
    pub(super) forwarded: Lines,
    pub(super) forwarded_other: Lines,
}

/// The header fields of a head and where they are in the read buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldTable<'b> {
    /// The head from its start line on: no empty lines before it, no body after it.
    pub(super) head: &'b [u8],
    pub(super) headers: &'b [Header<'b>],
    /// Where the empty line that ends the head begins.
    pub(super) fields_end: usize,
    pub(super) marks: Marks,
    pub(super) options: ConnectionOptions,
}

impl<'b> FieldTable<'b> {
    /// Sorts the fields and reads the framing.
    #[inline]
    pub(super) fn new(
        head: &'b [u8],
        headers: &'b [Header<'b>],
        version: Version,
    ) -> Result<(Self, Framing), FieldFault> {
        let empty_line = if head.ends_with(b"\r\n") { 2 } else { 1 };
        let mut table = Self {
            head,
            headers,
            fields_end: head.len() - empty_line,
            marks: Marks::default(),
            options: ConnectionOptions::default(),
        };
        let mut framing = FramingFields::default();
        for (index, header) in headers.iter().enumerate() {
            let line = 1 << index;
            if !table.is_regular(index) {
                table.marks.irregular |= line;
            }
            match Field::of(header.name) {
                Field::Other => {}
                Field::Host => table.marks.host |= line,
                Field::ContentLength => {
                    framing.content_length(header.value)?;
                    table.marks.content_length |= line;
                    if without_leading_zeros(header.value).len() < header.value.len() {
                        table.marks.irregular |= line;
                    }
                }
                Field::TransferEncoding => {
                    framing.transfer_encoding(header.value)?;
                    table.marks.transfer_encoding |= line;
                }
                Field::Connection => {
                    table.options.add(header.value)?;
                    table.marks.hop_by_hop |= line;
                }
                Field::HopByHop => table.marks.hop_by_hop |= line,
                Field::Upgrade => table.marks.upgrade |= line,
                Field::Expect => table.marks.expect |= line,
                Field::ForwardedFor => table.marks.forwarded_for |= line,
                Field::ForwardedProto => table.marks.forwarded_proto |= line,
                Field::ForwardedHost => table.marks.forwarded_host |= line,
                Field::Forwarded => table.marks.forwarded |= line,
                Field::ForwardedOther => table.marks.forwarded_other |= line,
            }
        }
        if table.options.names_fields {
            table.mark_named_fields();
        }
        Ok((table, framing.finish(version)?))
    }

    /// Marks the fields that `Connection` names, as far as it may.
    fn mark_named_fields(&mut self) {
        for connection in
            self.headers.iter().filter(|header| Field::of(header.name) == Field::Connection)
        {
            for option in list(connection.value) {
                for (index, header) in self.headers.iter().enumerate() {
                    if header.name.as_bytes().eq_ignore_ascii_case(option)
                        && Field::removable(header.name)
                    {
                        self.marks.hop_by_hop |= 1 << index;
                    }
                }
            }
        }
    }

    /// Where line `index` begins; for the line after the last, where the empty line begins.
    #[inline]
    pub(super) fn line_start(&self, index: usize) -> usize {
        match self.headers.get(index) {
            Some(header) => self.offset(header.name.as_bytes()),
            None => self.fields_end,
        }
    }

    /// Whether line `index` is exactly `name: value CRLF`.
    #[inline]
    fn is_regular(&self, index: usize) -> bool {
        let header = &self.headers[index];
        let name_end = self.offset(header.name.as_bytes()) + header.name.len();
        let value_end = name_end + 2 + header.value.len();
        self.line_start(index + 1) == value_end + 2
            && self.head.get(name_end..name_end + 2) == Some(b": ")
            && self.head.get(value_end..value_end + 2) == Some(b"\r\n")
            && !header.value.is_empty()
    }

    /// The position of a slice of the head within it.
    #[inline]
    pub(super) fn offset(&self, part: &[u8]) -> usize {
        part.as_ptr().addr() - self.head.as_ptr().addr()
    }

    /// The values of the marked lines.
    pub(super) fn values(&self, lines: Lines) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let headers = self.headers;
        let mut rest = lines;
        std::iter::from_fn(move || {
            let header = headers.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(header.value)
        })
    }

    /// The value of the only marked line; `None` when there are none or several.
    #[inline]
    pub(super) fn single(&self, lines: Lines) -> Option<&'b [u8]> {
        if lines.is_power_of_two() { self.values(lines).next() } else { None }
    }

    /// The value of the first field with this name, which is compared without regard to case.
    pub(super) fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The protocol of the only `Upgrade` field, when `Connection` names it and it may pass.
    ///
    /// Other versions of HTTP and TLS are never negotiated through the proxy: inside them requests
    /// would pass by the routes. A list of protocols is not taken up either (RFC 9110 section
    /// 7.8 leaves that to the server).
    pub(super) fn upgrade(&self) -> Option<&'b str> {
        if !self.options.upgrade {
            return None;
        }
        let protocol = std::str::from_utf8(self.single(self.marks.upgrade)?).ok()?;
        let (name, version) = protocol.split_once('/').unwrap_or((protocol, "0"));
        let is_token =
            |text: &str| !text.is_empty() && text.bytes().all(super::field::is_token_byte);
        let refused = ["h2c", "h2", "h3", "http", "tls"];
        (is_token(name)
            && is_token(version)
            && !refused.iter().any(|known| name.eq_ignore_ascii_case(known)))
        .then_some(protocol)
    }
}
