//! What a line looks like.

use std::{fmt::Display, io::Write as _, sync::Arc, time::Duration};

use bs9_config::{LogField, LogFormat, TemplatePiece};

use super::{calendar::Calendar, captured::Shown, entry::Entry, escape};
use crate::http1::push_decimal;

/// A format, ready to be filled in.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    Json,
    Common,
    Combined,
    Template(Arc<[TemplatePiece]>),
}

/// A field's value.
enum Value<'a> {
    Unknown,
    Text(&'a [u8]),
    Number(u64),
    Seconds(Duration),
    /// In 32 hexadecimal digits.
    Id(u128),
    Time(u64),
    Shown(&'a dyn Display),
}

impl Layout {
    pub(super) fn new(format: &LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Common => Self::Common,
            LogFormat::Combined => Self::Combined,
            LogFormat::Template(pieces) => Self::Template(Arc::clone(pieces)),
        }
    }

    /// Appends a line with its end.
    pub(super) fn write(
        &self,
        (listener, request_id_header): (&str, &str),
        entry: &Entry<'_>,
        calendar: &Calendar,
        out: &mut Vec<u8>,
    ) {
        let shown = entry.captured.show(request_id_header.as_bytes());
        let line = Line { listener, entry, shown, calendar };
        match self {
            Self::Json => line.json(out),
            Self::Common => line.common(out),
            Self::Combined => {
                line.common(out);
                out.extend_from_slice(b" \"");
                escape::text(line.shown.referer, out);
                out.extend_from_slice(b"\" \"");
                escape::text(line.shown.user_agent, out);
                out.push(b'"');
            }
            Self::Template(pieces) => {
                for piece in &**pieces {
                    match piece {
                        TemplatePiece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        TemplatePiece::Field(field) => line.text(*field, out),
                    }
                }
            }
        }
        out.push(b'\n');
    }
}

fn text(text: &str) -> Value<'_> {
    bytes(text.as_bytes())
}

fn bytes(bytes: &[u8]) -> Value<'_> {
    match bytes {
        [] => Value::Unknown,
        bytes => Value::Text(bytes),
    }
}

struct Line<'a> {
    listener: &'a str,
    entry: &'a Entry<'a>,
    shown: Shown<'a>,
    calendar: &'a Calendar,
}

impl Line<'_> {
    fn value(&self, field: LogField) -> Value<'_> {
        let Self { entry, shown, .. } = self;
        match field {
            LogField::Time => Value::Time(self.calendar.unix_milliseconds(entry.started)),
            LogField::Listener => text(self.listener),
            LogField::Client if entry.client.is_empty() => Value::Text(b"unix:"),
            LogField::Client => text(entry.client),
            LogField::Peer => Value::Shown(&entry.peer),
            LogField::Method => bytes(shown.method),
            LogField::Host => bytes(shown.host),
            LogField::Path => bytes(shown.path),
            LogField::Protocol => text(entry.protocol),
            LogField::Status if shown.method.is_empty() && entry.status == 0 => Value::Unknown,
            LogField::Status => Value::Number(u64::from(entry.status)),
            LogField::ReceivedBytes => Value::Number(entry.received_bytes),
            LogField::SentBytes => Value::Number(entry.sent_bytes),
            LogField::DurationSeconds => Value::Seconds(entry.duration),
            LogField::Upstream => match &entry.upstream {
                Some(address) => Value::Shown(address),
                None => Value::Unknown,
            },
            LogField::UpstreamSeconds => {
                entry.upstream_duration.map_or(Value::Unknown, Value::Seconds)
            }
            LogField::Retries => Value::Number(u64::from(entry.retries)),
            LogField::Route => text(entry.route),
            LogField::Cluster => text(entry.cluster),
            LogField::RequestId => {
                entry.captured.request_id.map_or_else(|| bytes(shown.request_id), Value::Id)
            }
            LogField::TraceId => {
                entry.captured.trace_id.map_or_else(|| bytes(shown.trace_id), Value::Id)
            }
            LogField::Reason => text(entry.reason),
            LogField::TlsVersion => text(entry.tls_version),
            LogField::ServerName => text(entry.server_name),
            LogField::UserAgent => bytes(shown.user_agent),
            LogField::Referer => bytes(shown.referer),
        }
    }

    /// An object with every field that is known.
    fn json(&self, out: &mut Vec<u8>) {
        let mut before = b'{';
        for field in LogField::ALL {
            let value = self.value(*field);
            if matches!(value, Value::Unknown) {
                continue;
            }
            out.push(before);
            before = b',';
            out.push(b'"');
            out.extend_from_slice(field.name().as_bytes());
            out.extend_from_slice(b"\":");
            match value {
                Value::Unknown => {}
                Value::Text(text) => escape::json(text, out),
                Value::Number(number) => push_decimal(out, number),
                Value::Seconds(duration) => push_seconds(duration, out),
                Value::Id(id) => {
                    let _infallible = write!(out, "\"{id:032x}\"");
                }
                Value::Time(milliseconds) => {
                    out.push(b'"');
                    self.calendar.write_rfc3339(milliseconds, out);
                    out.push(b'"');
                }
                Value::Shown(shown) => {
                    let start = out.len();
                    push_shown(shown, out);
                    let plain = out[start..]
                        .iter()
                        .all(|byte| matches!(byte, 0x20..0x7F) && !matches!(byte, b'"' | b'\\'));
                    if plain {
                        out.insert(start, b'"');
                        out.push(b'"');
                    } else {
                        let text = out.split_off(start);
                        escape::json(&text, out);
                    }
                }
            }
        }
        out.push(b'}');
    }

    /// A field in a line of text.
    fn text(&self, field: LogField, out: &mut Vec<u8>) {
        match self.value(field) {
            Value::Unknown => out.push(b'-'),
            Value::Text(text) => escape::text(text, out),
            Value::Number(number) => push_decimal(out, number),
            Value::Seconds(duration) => push_seconds(duration, out),
            Value::Id(id) => {
                let _infallible = write!(out, "{id:032x}");
            }
            Value::Time(milliseconds) => self.calendar.write_rfc3339(milliseconds, out),
            Value::Shown(shown) => {
                let start = out.len();
                push_shown(shown, out);
                if !out[start..].iter().all(|byte| byte.is_ascii_graphic()) {
                    let text = out.split_off(start);
                    escape::text(&text, out);
                }
            }
        }
    }

    /// `client - - [time] "request" status bytes`.
    fn common(&self, out: &mut Vec<u8>) {
        self.text(LogField::Client, out);
        out.extend_from_slice(b" - - [");
        self.calendar.write_common(self.calendar.unix_milliseconds(self.entry.started), out);
        out.extend_from_slice(b"] \"");
        for field in [LogField::Method, LogField::Path, LogField::Protocol] {
            if field != LogField::Method {
                out.push(b' ');
            }
            self.text(field, out);
        }
        out.extend_from_slice(b"\" ");
        self.text(LogField::Status, out);
        out.push(b' ');
        push_decimal(out, self.entry.sent_bytes);
    }
}

fn push_shown(shown: &dyn Display, out: &mut Vec<u8>) {
    // Writing to a vector does not fail.
    let _infallible = write!(out, "{shown}");
}

/// With six decimals.
fn push_seconds(duration: Duration, out: &mut Vec<u8>) {
    push_decimal(out, duration.as_secs());
    let mut micros = duration.subsec_micros();
    let mut digits = *b".000000";
    for place in (1..digits.len()).rev() {
        digits[place] = b'0' + (micros % 10) as u8;
        micros /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use bs9_net::{PeerAddress, now};

    use super::*;
    use crate::access_log::Captured;

    const HEAD: &[u8] = b"GET /a\"b?c HTTP/1.1\r\nHost: site.test\r\nUser-Agent: a \"b\"\r\n\r\n";

    fn line(layout: &Layout, change: impl FnOnce(&mut Entry<'_>)) -> String {
        let upstream = "127.0.0.1:3000".parse().unwrap();
        let mut entry = Entry {
            started: now(),
            duration: Duration::from_micros(1_234_005),
            client: "192.0.2.1",
            peer: PeerAddress::Tcp("127.0.0.1:5".parse().unwrap()),
            captured: Captured { head: HEAD, request_id: Some(0x1D), trace_id: None },
            protocol: "HTTP/1.1",
            status: 200,
            received_bytes: 60,
            sent_bytes: 1_000,
            upstream: Some(&upstream),
            upstream_duration: Some(Duration::from_millis(7)),
            retries: 1,
            route: "any/",
            cluster: "app",
            reason: "",
            tls_version: "",
            server_name: "",
        };
        change(&mut entry);
        let mut out = Vec::new();
        layout.write(("web", ""), &entry, &Calendar::new(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What lies between the time and the end of a line.
    fn behind_time(line: &str) -> &str {
        let (_, rest) = line.split_once("Z\",").unwrap();
        rest
    }

    #[test]
    fn json_has_what_is_known() {
        let line = line(&Layout::Json, |_| {});
        assert!(line.starts_with("{\"time\":\"20"), "{line}");
        assert_eq!(
            behind_time(&line),
            "\"listener\":\"web\",\"client\":\"192.0.2.1\",\"peer\":\"127.0.0.1:5\",\
             \"method\":\"GET\",\"host\":\"site.test\",\"path\":\"/a\\\"b?c\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"received_bytes\":60,\"sent_bytes\":1000,\
             \"duration_seconds\":1.234005,\"upstream\":\"127.0.0.1:3000\",\
             \"upstream_seconds\":0.007000,\"retries\":1,\"route\":\"any/\",\"cluster\":\"app\",\
             \"request_id\":\"0000000000000000000000000000001d\",\"user_agent\":\"a \\\"b\\\"\"}\n"
        );
    }

    #[test]
    fn the_classic_formats() {
        let common = line(&Layout::Common, |_| {});
        let (before, after) = (common.split_once('[').unwrap(), common.split_once(']').unwrap());
        assert_eq!(before.0, "192.0.2.1 - - ");
        assert_eq!(after.1, " \"GET /a\\x22b?c HTTP/1.1\" 200 1000\n");
        let combined = line(&Layout::Combined, |_| {});
        assert!(combined.ends_with("200 1000 \"-\" \"a \\x22b\\x22\"\n"), "{combined}");
        let connection = line(&Layout::Common, |entry| {
            entry.captured = Captured::default();
            entry.protocol = "tcp";
            entry.status = 0;
        });
        assert!(connection.ends_with("\"- - tcp\" - 1000\n"), "{connection}");
    }

    #[test]
    fn templates_are_filled_in() {
        let pieces = [
            TemplatePiece::Field(LogField::Client),
            TemplatePiece::Text(" > ".into()),
            TemplatePiece::Field(LogField::Upstream),
            TemplatePiece::Text(" ".into()),
            TemplatePiece::Field(LogField::Reason),
        ];
        let layout = Layout::Template(pieces.into());
        assert_eq!(line(&layout, |_| {}), "192.0.2.1 > 127.0.0.1:3000 -\n");
        assert_eq!(
            line(&layout, |entry| {
                entry.client = "";
                entry.upstream = None;
                entry.reason = "no_route";
            }),
            "unix: > - no_route\n"
        );
    }
}
