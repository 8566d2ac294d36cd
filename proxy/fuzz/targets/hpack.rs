//! Header blocks: what is read, written again, is read as the same.
#![no_main]

use bs9_proxy::http2::hpack::{Decoder, Encoder, Malformed};
use libfuzzer_sys::fuzz_target;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Malformed> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value| fields.push((name.to_vec(), value.to_vec())))?;
    Ok(fields)
}

fuzz_target!(|input: &[u8]| {
    // Blocks of one connection, which share its tables, behind a byte with their length.
    let (mut theirs, mut ours, mut encoder) =
        (Decoder::default(), Decoder::default(), Encoder::default());
    let mut rest = input;
    while let [length, behind @ ..] = rest {
        let (block, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        rest = behind;
        let Ok(fields) = decode(&mut theirs, block) else { return };
        if block.len() % 7 == 3 {
            encoder.set_limit(block.len() * 16);
        }
        let mut written = Vec::new();
        encoder.begin(&mut written);
        for (name, value) in &fields {
            encoder.field(name, value, &mut written);
        }
        // Names are written in lower case.
        let lower: Fields =
            fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        assert_eq!(decode(&mut ours, &written), Ok(lower));
    }
});
