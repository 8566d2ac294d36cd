//! Readers as they exist out there, each careless in ways of its own. Where they find different messages in the same
//! bytes, a request can be smuggled past one of them.

use crate::strict::find;

/// Which of several framing fields counts.
#[derive(Debug, Clone, Copy)]
enum Prefer {
    Length,
    Coding,
}

/// What ends a line besides CRLF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Crlf,
    BareLf,
    BareCr,
}

/// A reader and its habits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    prefer: Prefer,
    line_end: LineEnd,
    /// Of several lengths, the last one; else the first.
    last_length: bool,
    /// A length that begins with 0 is octal, as to `strtol`.
    octal: bool,
    /// `chunked` anywhere in the value, under any name that looks like it, counts.
    fuzzy_coding: bool,
}

impl Reader {
    /// Every mixture of habits.
    pub(crate) fn panel() -> Vec<Self> {
        let mut panel = Vec::new();
        for prefer in [Prefer::Length, Prefer::Coding] {
            for line_end in [LineEnd::Crlf, LineEnd::BareLf, LineEnd::BareCr] {
                for habits in 0..8 {
                    panel.push(Self {
                        prefer,
                        line_end,
                        last_length: habits & 1 != 0,
                        octal: habits & 2 != 0,
                        fuzzy_coding: habits & 4 != 0,
                    });
                }
            }
        }
        panel
    }

    /// Where the messages in `bytes` end, as far as they are whole.
    pub(crate) fn ends(&self, bytes: &[u8]) -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while let Some(len) = self.message(&bytes[at..]) {
            at += len;
            ends.push(at);
        }
        ends
    }

    fn message(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        let (mut lengths, mut chunked, mut first) = (Vec::new(), false, true);
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            if line.is_empty() && !first {
                break;
            }
            if !first {
                self.note(line, &mut lengths, &mut chunked);
            }
            first = false;
        }
        let length = if self.last_length { lengths.last() } else { lengths.first() };
        let by_chunks = match self.prefer {
            Prefer::Coding => chunked,
            Prefer::Length => chunked && length.is_none(),
        };
        if by_chunks {
            return Some(at + self.chunks(&bytes[at..])?);
        }
        let end = at.checked_add(length.copied().unwrap_or(0))?;
        (end <= bytes.len()).then_some(end)
    }

    fn note(&self, line: &[u8], lengths: &mut Vec<usize>, chunked: &mut bool) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let text = |part: &[u8]| String::from_utf8_lossy(part).to_ascii_lowercase();
        let (name, value) = (text(&line[..colon]), text(&line[colon + 1..]));
        let name = match self.fuzzy_coding {
            true => name.trim().replace('_', "-"),
            false => name,
        };
        if name == "content-length" {
            lengths.extend(self.number(value.trim()));
        } else if name == "transfer-encoding" {
            *chunked |= match self.fuzzy_coding {
                true => value.contains("chunked"),
                false => value.trim() == "chunked",
            };
        }
    }

    /// As `strtol` reads: up to the first byte that is no digit.
    fn number(&self, text: &str) -> Option<usize> {
        let text = text.trim_start_matches('+');
        let radix = if self.octal && text.starts_with('0') { 8 } else { 10 };
        let digits: String = text.chars().take_while(|one| one.is_digit(radix)).collect();
        usize::from_str_radix(&digits, radix).ok()
    }

    fn line<'b>(&self, bytes: &'b [u8]) -> Option<(&'b [u8], usize)> {
        let ends = |at: usize| match (self.line_end, bytes[at], bytes.get(at + 1)) {
            (_, b'\r', Some(b'\n')) => Some(2),
            (LineEnd::BareLf, b'\n', _) | (LineEnd::BareCr, b'\r', Some(_)) => Some(1),
            _ => None,
        };
        (0..bytes.len()).find_map(|at| ends(at).map(|len| (&bytes[..at], at + len)))
    }

    fn chunks(&self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            let digits: String =
                line.iter().map(|byte| *byte as char).take_while(char::is_ascii_hexdigit).collect();
            let size = usize::from_str_radix(&digits, 16).ok()?;
            if size == 0 {
                break;
            }
            at = at.checked_add(size + 2).filter(|at| *at <= bytes.len())?;
        }
        loop {
            let (line, next) = self.line(&bytes[at..])?;
            at += next;
            if line.is_empty() {
                return Some(at);
            }
        }
    }
}

#[test]
fn the_panel_disagrees_about_what_can_be_read_in_two_ways() {
    let ambiguous: [&[u8]; 7] = [
        b"POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 010\r\n\r\n0123456789",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: y\nContent-Length: 1\r\n\r\nx",
        b"GET / HTTP/1.1\r\nX: y\rContent-Length: 1\r\n\r\nx",
    ];
    for bytes in ambiguous {
        let mut found: Vec<_> = Reader::panel().iter().map(|reader| reader.ends(bytes)).collect();
        found.sort_unstable();
        found.dedup();
        assert!(found.len() > 1, "{}", String::from_utf8_lossy(bytes));
    }
    assert!(find(b"ab", b"b") == Some(1));
}
