//! Frames (RFC 6455 section 5).

use crate::failure::Failure;

/// Longest payload of a control frame, in bytes.
const MAX_CONTROL_BYTES: usize = 125;
/// Longest header of a frame that is not masked.
const MAX_HEADER_BYTES: usize = 10;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// What a server's frames come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A message begins, of this kind.
    Begin(Opcode),
    /// A piece of the message.
    Piece(&'a [u8]),
    /// The message is complete.
    End,
    /// To be answered with the same payload.
    Ping(&'a [u8]),
    /// The server closes.
    Close,
}

/// Takes a server's frames apart, however they arrive.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// A header, or all of a control frame, of which only the beginning is here.
    cut: Vec<u8>,
    /// The frame of a message that is being received.
    frame: Option<Frame>,
    /// A message has begun and not ended.
    in_message: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: Opcode,
    is_last: bool,
    left: u64,
}

/// Appends a frame with this mask.
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, mask: [u8; 4], payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(0x80 | opcode as u8);
    match payload.len() {
        len @ ..126 => out.push(MASKED | len as u8),
        len @ ..0x1_0000 => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    cover(&mut out[start..], mask);
}

/// Masks, or takes a mask off (section 5.3).
pub(super) fn cover(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

// === impl Opcode ===

impl Opcode {
    fn read(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

// === impl Reader ===

impl Reader {
    /// Takes all of `input`, and tells what it comes to.
    pub(super) fn read(
        &mut self,
        mut input: &[u8],
        mut tell: impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while !input.is_empty() {
            if let Some(frame) = &mut self.frame {
                let here = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
                let (piece, rest) = input.split_at(here);
                input = rest;
                frame.left -= here as u64;
                tell(Event::Piece(piece))?;
                self.end_frame(&mut tell)?;
                continue;
            }
            let wanted = match parse(&self.cut)? {
                // Of frames that are longer than their header only control frames wait here.
                Ok((frame, len)) => len + frame.left as usize,
                Err(wanted) => wanted,
            };
            let (piece, rest) = input.split_at(input.len().min(wanted - self.cut.len()));
            input = rest;
            self.cut.extend_from_slice(piece);
            let Ok((frame, len)) = parse(&self.cut)? else { continue };
            if !frame.opcode.is_control() {
                self.cut.clear();
                self.begin_frame(frame, &mut tell)?;
            } else if self.cut.len() == len + frame.left as usize {
                match frame.opcode {
                    Opcode::Ping => tell(Event::Ping(&self.cut[len..]))?,
                    Opcode::Close => tell(Event::Close)?,
                    _ => {}
                }
                self.cut.clear();
            }
        }
        Ok(())
    }

    fn begin_frame(
        &mut self,
        frame: Frame,
        tell: &mut impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let continues = frame.opcode == Opcode::Continuation;
        if continues != self.in_message {
            return Err(Failure::Protocol("messages overlap, or continue what has not begun"));
        }
        if !continues {
            tell(Event::Begin(frame.opcode))?;
        }
        self.in_message = true;
        self.frame = Some(frame);
        self.end_frame(tell)
    }

    /// Ends the frame, when all of it was received.
    fn end_frame(
        &mut self,
        tell: &mut impl FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(Frame { is_last, left: 0, .. }) = self.frame else { return Ok(()) };
        self.frame = None;
        if is_last {
            self.in_message = false;
            tell(Event::End)?;
        }
        Ok(())
    }
}

/// The header at the front, and its length; or how many bytes there have to be at least.
fn parse(bytes: &[u8]) -> Result<Result<(Frame, usize), usize>, Failure> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(Err(2)) };
    if first & 0x70 != 0 {
        return Err(Failure::Protocol("a frame uses an extension nobody agreed on"));
    }
    if second & 0x80 != 0 {
        return Err(Failure::Protocol("a frame of the server is masked"));
    }
    let opcode = Opcode::read(first & 0x0f);
    let opcode = opcode.ok_or(Failure::Protocol("a frame is of no known kind"))?;
    let is_last = first & 0x80 != 0;
    let (left, len) = match second {
        126 => match rest.first_chunk() {
            Some(&bytes) => (u64::from(u16::from_be_bytes(bytes)), 4),
            None => return Ok(Err(4)),
        },
        127 => match rest.first_chunk() {
            Some(&bytes) => (u64::from_be_bytes(bytes), MAX_HEADER_BYTES),
            None => return Ok(Err(MAX_HEADER_BYTES)),
        },
        short => (u64::from(short), 2),
    };
    if opcode.is_control() && (!is_last || left > MAX_CONTROL_BYTES as u64) {
        return Err(Failure::Protocol("a control frame is in pieces, or too long"));
    }
    Ok(Ok((Frame { opcode, is_last, left }, len)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a server writes it.
    fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, Opcode::Binary, [0; 4], payload);
        let header_len = out.len() - payload.len();
        out[0] = first;
        out[1] &= 0x7f;
        out.drain(header_len - 4..header_len);
        out
    }

    /// Everything that is told, pieces joined.
    fn told(input: &[u8], size: usize) -> Result<Vec<String>, Failure> {
        let mut reader = Reader::default();
        let mut told: Vec<String> = Vec::new();
        for input in input.chunks(size) {
            reader.read(input, |event| {
                match event {
                    Event::Piece(piece) => {
                        told.last_mut().unwrap().extend(piece.iter().copied().map(char::from));
                    }
                    other => told.push(format!("{other:?} ")),
                }
                Ok(())
            })?;
        }
        Ok(told)
    }

    #[test]
    fn messages_may_come_in_frames_with_others_between() {
        let input = [
            unmasked(0x02, b"hel"),
            unmasked(0x89, b"p"),
            unmasked(0x00, b""),
            unmasked(0x8a, b"unasked"),
            unmasked(0x80, b"lo"),
            unmasked(0x81, b""),
            unmasked(0x88, &[3, 232]),
        ]
        .concat();
        for size in 1..=input.len() {
            let told = told(&input, size).unwrap();
            let expected =
                ["Begin(Binary) hel", "Ping([112]) lo", "End ", "Begin(Text) ", "End ", "Close "];
            assert_eq!(told, expected, "{size}");
        }
    }

    #[test]
    fn what_a_server_must_not_say_is_refused() {
        for wrong in [
            unmasked(0xc2, b"x"),
            unmasked(0x83, b"x"),
            unmasked(0x80, b"x"),
            unmasked(0x09, b"x"),
            unmasked(0x89, &[0; 126]),
            [unmasked(0x02, b"x"), unmasked(0x82, b"x")].concat(),
            vec![0x82, 0x81, 0, 0, 0, 0, 0],
        ] {
            assert!(matches!(told(&wrong, 3), Err(Failure::Protocol(_))), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_is_a_frame_whatever_its_length(
            len in prop_oneof![0usize..300, 65_500usize..65_600], mask: [u8; 4], size in 1usize..5_000,
        ) {
            let payload: Vec<u8> = (0..len).map(|at| at as u8 & 0x7f).collect();
            let mut out = Vec::new();
            write(&mut out, Opcode::Binary, mask, &payload);
            let at = out.len() - len;
            prop_assert_eq!(&out[at - 4..at], &mask);
            cover(&mut out[at..], mask);
            prop_assert_eq!(&out[at..], &payload);
            // The same without its mask is what a server sends.
            out.drain(at - 4..at);
            out[1] &= 0x7f;
            let text: String = payload.into_iter().map(char::from).collect();
            let expected = [format!("Begin(Binary) {text}"), "End ".to_owned()];
            prop_assert_eq!(told(&out, size).unwrap(), expected);
        }

        #[test]
        fn noise_is_no_reason_to_panic(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            let _either_way = Reader::default().read(&noise, |_| Ok(()));
        }
    }
}
