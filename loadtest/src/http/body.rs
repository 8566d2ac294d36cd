//! Where the body of a response ends.

use crate::failure::Failure;

/// Longest line that announces a chunk, extensions included, in bytes.
const MAX_CHUNK_LINE_BYTES: u32 = 4 << 10;
/// Most bytes of a trailer section.
const MAX_TRAILER_BYTES: u32 = 64 << 10;

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Everything until the server closes.
    UntilClose,
}

/// Whether a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Not yet; all input was taken.
    More,
    /// It did, and so many bytes of the input lie behind it.
    End { behind: usize },
}

/// Reads the chunked coding (RFC 9112 section 7.1), byte by byte where it has to.
#[derive(Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of the line or the trailer section so far.
    length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the digits of a chunk's size.
    Size { size: u64, digits: u8 },
    /// Behind the digits, up to the carriage return.
    Extension { size: u64 },
    /// Before the line feed that ends the size.
    SizeEnd { size: u64 },
    /// In the data.
    Data { left: u64 },
    /// Before the carriage return behind the data.
    DataReturn,
    /// Before the line feed behind the data.
    DataEnd,
    /// At the beginning of a line of the trailer section.
    TrailerStart,
    /// Inside of one.
    Trailer,
    /// Before the line feed that ends it.
    TrailerEnd,
    /// Before the last line feed of all.
    LastEnd,
}

// === impl Body ===

impl Body {
    pub(super) fn of_length(length: u64) -> Self {
        Self::Length(length)
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { place: Place::Size { size: 0, digits: 0 }, length: 0 })
    }

    /// Takes input; what is content goes to `content`.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<Taken, Failure> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                content(&input[..here]);
                *left -= here as u64;
                let behind = input.len() - here;
                Ok(if *left == 0 { Taken::End { behind } } else { Taken::More })
            }
            Self::Chunked(chunks) => chunks.take(input, content),
            Self::UntilClose => {
                content(input);
                Ok(Taken::More)
            }
        }
    }
}

// === impl Chunks ===

impl Chunks {
    fn take(&mut self, mut input: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, Failure> {
        while let Some((&byte, rest)) = input.split_first() {
            if let Place::Data { left } = &mut self.place {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                content(&input[..here]);
                input = &input[here..];
                *left -= here as u64;
                if *left == 0 {
                    self.place = Place::DataReturn;
                }
                continue;
            }
            input = rest;
            if self.place == Place::LastEnd {
                return match byte {
                    b'\n' => Ok(Taken::End { behind: input.len() }),
                    _ => Err(Failure::Protocol("a chunked body does not end as it should")),
                };
            }
            self.place = self.step(byte)?;
        }
        Ok(Taken::More)
    }

    fn step(&mut self, byte: u8) -> Result<Place, Failure> {
        const MALFORMED: Failure = Failure::Protocol("a chunk is malformed");
        self.length += 1;
        Ok(match (self.place, byte) {
            (Place::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                if digits == 16 {
                    return Err(Failure::Protocol("a chunk's size has more than 16 digits"));
                }
                Place::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Place::Size { digits: 0, .. }, _) => return Err(MALFORMED),
            (Place::Size { size, .. } | Place::Extension { size }, b'\r') => {
                Place::SizeEnd { size }
            }
            (Place::Size { size, .. }, b';' | b' ' | b'\t') => Place::Extension { size },
            (Place::Extension { size }, _) if byte != b'\n' => {
                if self.length > MAX_CHUNK_LINE_BYTES {
                    return Err(Failure::Protocol("a chunk extension is longer than 4 KiB"));
                }
                Place::Extension { size }
            }
            (Place::SizeEnd { size }, b'\n') => {
                self.length = 0;
                if size == 0 { Place::TrailerStart } else { Place::Data { left: size } }
            }
            (Place::DataReturn, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => {
                self.length = 0;
                Place::Size { size: 0, digits: 0 }
            }
            (Place::TrailerStart, b'\r') => Place::LastEnd,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::TrailerEnd, b'\n') => Place::TrailerStart,
            (Place::TrailerStart | Place::Trailer, _) if byte != b'\n' => {
                if self.length > MAX_TRAILER_BYTES {
                    return Err(Failure::Protocol("the trailer section is longer than 64 KiB"));
                }
                Place::Trailer
            }
            _ => return Err(MALFORMED),
        })
    }
}
