//! Header fields that everybody knows (RFC 7541 appendix A).

/// The fields, from index 1 on.
#[rustfmt::skip]
pub(super) const FIELDS: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"),
    (":path", "/index.html"), (":scheme", "http"), (":scheme", "https"), (":status", "200"),
    (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
    (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""),
    ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""),
    ("authorization", ""), ("cache-control", ""), ("content-disposition", ""),
    ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""),
    ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
    ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
    ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""),
    ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""),
    ("vary", ""), ("via", ""), ("www-authenticate", ""),
];

/// Where a field stands, with this value or at least by name.
pub(super) enum Known {
    Field(usize),
    Name(usize),
    Nothing,
}

pub(super) fn find(name: &str, value: Option<&[u8]>) -> Known {
    let places = || FIELDS.iter().zip(1..).filter(|((own, _), _)| *own == name);
    let whole = places().find(|((_, own), _)| value == Some(own.as_bytes()));
    match (whole, places().next()) {
        (Some((_, index)), _) => Known::Field(index),
        (None, Some((_, index))) => Known::Name(index),
        (None, None) => Known::Nothing,
    }
}
