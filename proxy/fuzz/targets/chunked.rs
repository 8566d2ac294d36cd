//! Chunked bodies: the same end, payload and verdict whether they come whole or in pieces.
#![no_main]

use bs9_proxy::http1::{ChunkError, ChunkedScanner, Scan, write_chunk_end, write_chunk_size};
use libfuzzer_sys::fuzz_target;

/// Follows a body given in pieces of `step` bytes.
fn follow(bytes: &[u8], step: usize) -> Result<(usize, Scan, Vec<u8>), ChunkError> {
    let mut scanner = ChunkedScanner::new();
    let mut payload = Vec::new();
    let mut taken = 0;
    for piece in bytes.chunks(step) {
        let (len, scan) = scanner.decode_spans(piece, |span| payload.extend_from_slice(span))?;
        taken += len;
        if scan == Scan::Done {
            return Ok((taken, scan, payload));
        }
        assert_eq!(len, piece.len(), "takes everything while it needs more");
    }
    Ok((taken, Scan::NeedMore, payload))
}

fuzz_target!(|input: &[u8]| {
    let [step, bytes @ ..] = input else { return };
    let whole = follow(bytes, bytes.len().max(1));
    assert_eq!(follow(bytes, usize::from(*step).max(1)), whole);
    assert_eq!(follow(bytes, 1), whole);
    let Ok((_, Scan::Done, payload)) = whole else { return };
    let mut body = Vec::new();
    if !payload.is_empty() {
        write_chunk_size(&mut body, payload.len());
        body.extend_from_slice(&payload);
        body.extend_from_slice(b"\r\n");
    }
    write_chunk_end(&mut body);
    assert_eq!(follow(&body, 7), Ok((body.len(), Scan::Done, payload)));
});
