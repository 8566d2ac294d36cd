//! Query parameters, compared where they stand.

/// Whether `query` has a parameter with this name and value, given decoded.
pub(super) fn has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|parameter| {
        let (sent_name, sent_value) = parameter.split_once('=').unwrap_or((parameter, ""));
        decodes_to(sent_name, name) && decodes_to(sent_value, value)
    })
}

/// Whether `sent` is `wanted` in the encoding of forms: `%41` is `A`, `+` a space. A percent sign
/// that begins no encoded byte stands for itself.
fn decodes_to(sent: &str, wanted: &str) -> bool {
    let mut sent = sent.as_bytes();
    for wanted in wanted.bytes() {
        let (byte, rest) = match sent {
            [b'%', high, low, rest @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, rest),
                _ => (b'%', &sent[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return false,
        };
        if byte != wanted {
            return false;
        }
        sent = rest;
    }
    sent.is_empty()
}

fn hex(digit: u8) -> Option<u8> {
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
        for (query, name, value, expected) in cases {
            assert_eq!(has(query, name, value), expected, "{query} {name}={value}");
        }
    }
}
