//! The code of strings (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: symbols of one length have consecutive codes, in their order, behind all
//! shorter ones. So the lengths say everything, and tables follow from them.

use super::Malformed;

/// Bits of each symbol's code; the last symbol is the end of string, which never occurs.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const MAX_LENGTH: usize = 30;

/// Symbols by length, then by value, and where those of a length begin.
struct Order {
    symbols: [u16; 257],
    /// The first code of a length.
    first: [u32; MAX_LENGTH + 1],
    /// How many codes of a length there are.
    count: [u32; MAX_LENGTH + 1],
    /// Where its symbols begin.
    offset: [u32; MAX_LENGTH + 1],
}

const fn order() -> Order {
    let mut order = Order {
        symbols: [0; 257],
        first: [0; MAX_LENGTH + 1],
        count: [0; MAX_LENGTH + 1],
        offset: [0; MAX_LENGTH + 1],
    };
    let (mut code, mut at, mut length) = (0, 0, 1);
    while length <= MAX_LENGTH {
        code <<= 1;
        order.first[length] = code;
        order.offset[length] = at;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                order.symbols[at as usize] = symbol as u16;
                at += 1;
            }
            symbol += 1;
        }
        order.count[length] = at - order.offset[length];
        code += order.count[length];
        length += 1;
    }
    order
}

static ORDER: Order = order();

/// The symbol that eight bits begin with, and the length of its code; 0: it is longer.
const fn short() -> [(u8, u8); 256] {
    let order = order();
    let mut short = [(0, 0); 256];
    let mut bits = 0;
    while bits < 256 {
        let mut length = 1;
        while length <= 8 {
            let index = (bits as u32 >> (8 - length)).wrapping_sub(order.first[length]);
            if index < order.count[length] {
                let symbol = order.symbols[(order.offset[length] + index) as usize];
                short[bits] = (symbol as u8, length as u8);
                break;
            }
            length += 1;
        }
        bits += 1;
    }
    short
}

static SHORT: [(u8, u8); 256] = short();

/// The symbol that `bits`, from the highest on, begin with, and the length of its code.
fn long(bits: u64) -> Option<(u8, u32)> {
    (9..=MAX_LENGTH).find_map(|length| {
        let code = (bits >> (64 - length)) as u32;
        let index = code.wrapping_sub(ORDER.first[length]);
        if index >= ORDER.count[length] {
            return None;
        }
        let symbol = ORDER.symbols[(ORDER.offset[length] + index) as usize];
        Some((u8::try_from(symbol).ok()?, length as u32))
    })
}

/// Appends what `coded` stands for.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut rest = coded.iter();
    let (mut bits, mut have) = (0_u64, 0_u32);
    loop {
        while have <= 56 {
            let Some(byte) = rest.next() else { break };
            bits |= u64::from(*byte) << (56 - have);
            have += 8;
        }
        // Padding: less than a byte of ones, which no symbol is as short as.
        if have < 8 && bits == !(u64::MAX >> have) {
            return Ok(());
        }
        let (symbol, length) = match SHORT[(bits >> 56) as usize] {
            (_, 0) => long(bits).ok_or(Malformed)?,
            (symbol, length) => (symbol, u32::from(length)),
        };
        if length > have {
            return Err(Malformed);
        }
        out.push(symbol);
        bits <<= length;
        have -= length;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The other way round, bit by bit.
    pub(in super::super) fn encode(text: &[u8]) -> Vec<u8> {
        let (mut bits, mut have, mut out) = (0_u64, 0, Vec::new());
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let at = ORDER.symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = ORDER.first[length] + at as u32 - ORDER.offset[length];
            bits = bits << length | u64::from(code);
            have += length;
            while have >= 8 {
                have -= 8;
                out.push((bits >> have) as u8);
            }
        }
        if have > 0 {
            out.push((bits << (8 - have)) as u8 | 0xff >> have);
        }
        out
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (symbol, code, length) in
            [(0, 0x1ff8, 13), (33, 0x3f8, 10), (48, 0, 5), (122, 0x7b, 7), (255, 0x3ff_ffee, 26)]
        {
            let at = ORDER.symbols.iter().position(|found| *found == symbol).unwrap() as u32;
            assert_eq!(ORDER.first[length] + at - ORDER.offset[length], code, "{symbol}");
            assert_eq!(usize::from(LENGTHS[usize::from(symbol)]), length);
        }
        assert_eq!(ORDER.first[30] + ORDER.count[30] - 1, 0x3fff_ffff, "the end of string is last");
    }

    #[test]
    fn examples_of_the_rfc_are_read() {
        // Appendix C.4.1, C.4.2, C.6.1.
        let cases: [(&[u8], &str); 3] = [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
        ];
        for (coded, text) in cases {
            assert_eq!(decoded(coded).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), coded);
        }
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(&[]), Ok(vec![]));
        assert!(decoded(&[0xff]).is_err(), "a byte of it");
        assert!(decoded(&[0x07, 0xff]).is_err(), "more than a byte");
        assert_eq!(decoded(&[0x07]), Ok(b"0".to_vec()));
        assert!(decoded(&[0x00]).is_err(), "zeros");
        assert!(decoded(&[0x06]).is_err(), "not all of them ones");
        assert!(decoded(&[0xff; 4]).is_err(), "the end of string");
        assert!(decoded(&[0xff, 0xff, 0xff, 0xff, 0x00]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_coded_is_read_again(text in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decoded(&encode(&text)), Ok(text));
        }

        #[test]
        fn a_string_has_one_code(coded in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(text) = decoded(&coded) {
                prop_assert_eq!(encode(&text), coded);
            }
        }
    }
}
