//! The Huffman code of header fields (RFC 7541 section 5.2), decoded four bits at a time.

use std::sync::LazyLock;

/// The end-of-string symbol, which never stands in a string.
const END: usize = 256;
/// Inner nodes of the code's tree: one fewer than there are symbols.
const NODES: usize = END;

/// How many bits each symbol has (RFC 7541 appendix B). The code is canonical, so this is all of
/// it: codes of the same length go up with their symbols, and longer ones follow shorter ones.
#[rustfmt::skip]
const BITS: [u8; END + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// What four bits lead to from each node.
static STEPS: LazyLock<Box<[[Step; 16]]>> = LazyLock::new(steps);

#[derive(Debug, Clone, Copy, Default)]
struct Step {
    /// The node it ends at.
    node: u8,
    /// The symbol that was completed on the way. Codes have five bits or more: never two.
    symbol: Option<u8>,
    /// Whether this is a way at all.
    valid: bool,
    /// Whether a string may end here: behind less than a byte of ones.
    ends: bool,
}

/// Where a bit leads.
#[derive(Debug, Clone, Copy)]
enum Branch {
    Missing,
    Node(usize),
    Symbol(usize),
}

/// Appends the decoded string; `None` when it is none.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let steps = &*STEPS;
    let (mut node, mut ends) = (0u8, true);
    for byte in input {
        for nibble in [byte >> 4, byte & 0x0f] {
            let step = steps[usize::from(node)][usize::from(nibble)];
            if !step.valid {
                return None;
            }
            out.extend(step.symbol);
            (node, ends) = (step.node, step.ends);
        }
    }
    ends.then_some(())
}

fn steps() -> Box<[[Step; 16]]> {
    let tree = tree();
    // Where only ones lead to, for less than a byte.
    let mut padding = vec![0];
    while let Branch::Node(node) = tree[padding[padding.len() - 1]][1]
        && padding.len() < 8
    {
        padding.push(node);
    }
    let step = |from: usize, nibble: u8| {
        let (mut node, mut symbol) = (from, None);
        for bit in (0..4).rev() {
            match tree[node][usize::from(nibble >> bit & 1)] {
                Branch::Node(next) => node = next,
                Branch::Symbol(END) | Branch::Missing => return Step::default(),
                Branch::Symbol(found) => {
                    symbol = u8::try_from(found).ok();
                    node = 0;
                }
            }
        }
        Step { node: node as u8, symbol, valid: true, ends: padding.contains(&node) }
    };
    let row = |from| std::array::from_fn(|nibble| step(from, nibble as u8));
    (0..tree.len()).map(row).collect()
}

/// The tree of the code; the root comes first.
fn tree() -> Vec<[Branch; 2]> {
    let mut tree = Vec::with_capacity(NODES);
    tree.push([Branch::Missing; 2]);
    let mut symbols: Vec<usize> = (0..BITS.len()).collect();
    symbols.sort_by_key(|&symbol| (BITS[symbol], symbol));
    let (mut code, mut bits) = (0u32, 0);
    for symbol in symbols {
        code <<= BITS[symbol] - bits;
        bits = BITS[symbol];
        let mut node = 0;
        for bit in (1..bits).rev() {
            let branch = usize::from(code >> bit & 1 == 1);
            node = match tree[node][branch] {
                Branch::Node(next) => next,
                _ => {
                    tree.push([Branch::Missing; 2]);
                    let next = tree.len() - 1;
                    tree[node][branch] = Branch::Node(next);
                    next
                }
            };
        }
        tree[node][usize::from(code & 1 == 1)] = Branch::Symbol(symbol);
        code += 1;
    }
    tree
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a string looks like, bit by bit, for the other direction.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut symbols: Vec<usize> = (0..BITS.len()).collect();
        symbols.sort_by_key(|&symbol| (BITS[symbol], symbol));
        let mut codes = vec![0u32; BITS.len()];
        let (mut code, mut bits) = (0u32, 0);
        for symbol in symbols {
            code <<= BITS[symbol] - bits;
            bits = BITS[symbol];
            codes[symbol] = code;
            code += 1;
        }
        let mut stream = Vec::new();
        for &byte in text {
            let symbol = usize::from(byte);
            stream.extend((0..BITS[symbol]).rev().map(|bit| codes[symbol] >> bit & 1 == 1));
        }
        while stream.len() % 8 != 0 {
            stream.push(true);
        }
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        stream.chunks(8).map(byte).collect()
    }

    fn decoded(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(input, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 7541 appendix C.4 and C.6.
        for (coded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("6402", "302"),
            ("aec3771a4b", "private"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ] {
            let bytes: Vec<u8> = (0..coded.len() / 2)
                .map(|at| u8::from_str_radix(&coded[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            assert_eq!(decoded(&bytes).unwrap(), text.as_bytes());
            assert_eq!(encode(text.as_bytes()), bytes);
        }
    }

    #[test]
    fn padding_is_ones_and_less_than_a_byte() {
        assert_eq!(decoded(&[]), Some(Vec::new()));
        // `0` is 00000: then zeros, then a byte too many, then the end-of-string symbol itself.
        for wrong in [&[0b0000_0000][..], &[0b0000_0111, 0xff], &[0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(decoded(wrong), None, "{wrong:?}");
        }
        assert_eq!(decoded(&[0b0000_0111]), Some(b"0".to_vec()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decoded(&encode(&text)), Some(text));
        }

        #[test]
        fn noise_is_no_reason_to_panic(noise in prop::collection::vec(any::<u8>(), 0..60)) {
            decoded(&noise);
        }
    }
}
