//! Query parameters, compared as they are decoded.

/// Longest value that is decoded without an allocation.
const SHORT_BYTES: usize = 256;

/// Whether `test` holds for the decoded value of any parameter of `query` with this name.
pub(super) fn any(query: &str, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    query.split('&').any(|parameter| {
        let (sent_name, sent_value) = parameter.split_once('=').unwrap_or((parameter, ""));
        decodes_to(sent_name, name) && with_decoded(sent_value.as_bytes(), test)
    })
}

/// Calls `test` with what `sent` stands for.
fn with_decoded(sent: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    if memchr::memchr2(b'%', b'+', sent).is_none() {
        return test(sent);
    }
    let mut short = [0; SHORT_BYTES];
    let mut long;
    let room = if sent.len() <= SHORT_BYTES {
        &mut short[..]
    } else {
        long = vec![0; sent.len()];
        &mut long[..]
    };
    let mut len = 0;
    for (byte, place) in decoded(sent).zip(room.iter_mut()) {
        *place = byte;
        len += 1;
    }
    test(&room[..len])
}

/// Whether `sent` stands for `wanted`.
fn decodes_to(sent: &str, wanted: &str) -> bool {
    decoded(sent.as_bytes()).eq(wanted.bytes())
}

/// The bytes that `sent` stands for in the encoding of forms: `%41` is `A`, `+` a space. A percent
/// sign that begins no encoded byte stands for itself.
fn decoded(mut sent: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (byte, rest) = match sent {
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (b'%', &sent[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        sent = rest;
        Some(byte)
    })
}

pub(super) fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_compared_decoded() {
        let cases = [
            ("beta=1", "beta", "1", true),
            ("a=2&beta=1", "beta", "1", true),
            ("beta=2&beta=1", "beta", "1", true),
            ("beta=11", "beta", "1", false),
            ("beta=1", "beta", "11", false),
            ("beta", "beta", "", true),
            ("beta=", "beta", "", true),
            ("", "beta", "", false),
            ("b%65ta=%31", "beta", "1", true),
            ("q=a+b%20c", "q", "a b c", true),
            ("q=100%", "q", "100%", true),
            ("q=%zz", "q", "%zz", true),
            ("q=a%3db&c", "q", "a=b", true),
            ("q=a=b", "q", "a=b", true),
            ("Beta=1", "beta", "1", false),
            ("q=%C3%A9", "q", "é", true),
        ];
        for (query, name, wanted, expected) in cases {
            let found = any(query, name, &mut |value| value == wanted.as_bytes());
            assert_eq!(found, expected, "{query} {name}={wanted}");
        }
        let long = format!("q={}", "%41".repeat(SHORT_BYTES));
        assert!(any(&long, "q", &mut |value| value == "A".repeat(SHORT_BYTES).as_bytes()));
    }
}
