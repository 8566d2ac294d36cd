//! Either end of a connection, with HTTP read naively: what a test sends is bytes, and so is what it gets.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr},
    path::Path,
    time::Duration,
};

use bs9_config::BindAddress;
use socket2::{Domain, SockAddr, Socket, Type};

/// How long any wait of a test may take before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A connected socket and what has been read from it ahead.
pub(crate) struct Wire {
    socket: Socket,
    ahead: Vec<u8>,
}

/// A request or a response, body as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Status of a response.
    pub(crate) fn status(&self) -> u16 {
        status_of(&self.head)
    }

    /// First line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// Target of a request.
    pub(crate) fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        headers_of(&self.head, name).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Whether the sender says that the connection ends after this message.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn headers_of<'h>(head: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    head.lines().skip(1).filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn header_of<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    headers_of(head, name).next()
}

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
}

impl Wire {
    pub(crate) fn new(socket: Socket) -> Self {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, ahead: Vec::new() }
    }

    pub(crate) fn connect(address: &BindAddress) -> Self {
        match address {
            BindAddress::Tcp(address) => Self::connect_tcp(*address, None),
            BindAddress::Unix(path) => Self::connect_unix(path),
        }
    }

    /// `window`: bytes of the receive buffer, to make a reader slow by nature.
    pub(crate) fn connect_tcp(address: SocketAddr, window: Option<usize>) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        Self::new(socket)
    }

    fn connect_unix(path: &Path) -> Self {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
        Self::new(socket)
    }

    /// The same connection for another thread. What was read ahead stays here.
    pub(crate) fn second(&self) -> Self {
        Self { socket: self.socket.try_clone().unwrap(), ahead: Vec::new() }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the other side takes what it is sent");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        (&self.socket).write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        self.socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads more; 0 is the end.
    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; 64 * 1024];
        let count = match (&self.socket).read(&mut chunk) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; so far: {:?}", self.preview());
            }
            other => other?,
        };
        self.ahead.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    fn preview(&self) -> String {
        String::from_utf8_lossy(&self.ahead[..self.ahead.len().min(300)]).into_owned()
    }

    fn fill_or_cut(&mut self) -> io::Result<()> {
        match self.fill()? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn try_exact(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.fill_or_cut()?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    pub(crate) fn exact(&mut self, count: usize) -> Vec<u8> {
        self.try_exact(count).expect("as many bytes as expected")
    }

    /// Bytes read ahead.
    pub(crate) fn held(&self) -> usize {
        self.ahead.len()
    }

    /// At least one byte, whatever is there.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        if self.ahead.is_empty() {
            self.fill_or_cut().expect("more bytes");
        }
        std::mem::take(&mut self.ahead)
    }

    /// Everything up to an end in good order; a reset is an error.
    pub(crate) fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.try_rest().expect("an end in good order")
    }

    /// Waits until the other side has closed without another byte, in whatever order.
    pub(crate) fn expect_closed(&mut self) {
        let rest = self.try_rest().unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.iter().position(|byte| *byte == b'\n') {
                return Ok(self.ahead.drain(..=at).collect());
            }
            self.fill_or_cut()?;
        }
    }

    /// A head up to and with its empty line; `None`: the connection ended before it.
    pub(crate) fn try_head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.ahead.drain(..at + 4).collect();
                return Ok(Some(String::from_utf8(head).unwrap()));
            }
            match self.fill() {
                Ok(0) if self.ahead.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn head(&mut self) -> String {
        self.try_head().expect("a whole head").expect("a head before the end")
    }

    /// The body that `head` announces, as on the wire.
    pub(crate) fn body(&mut self, head: &str) -> io::Result<Option<Vec<u8>>> {
        if let Some(length) = header_of(head, "content-length") {
            return self.try_exact(length.parse().unwrap()).map(Some);
        }
        if header_of(head, "transfer-encoding").is_some() {
            return self.chunks().map(Some);
        }
        Ok(None)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        loop {
            let line = self.line()?;
            let text = String::from_utf8(line.clone()).unwrap();
            let digits = text.trim_end().split(';').next().unwrap();
            let size = usize::from_str_radix(digits, 16).expect("a chunk size");
            raw.extend(line);
            if size == 0 {
                break;
            }
            raw.extend(self.try_exact(size + 2)?);
        }
        loop {
            let line = self.line()?;
            let last = line == b"\r\n";
            raw.extend(line);
            if last {
                return Ok(raw);
            }
        }
    }

    /// The next request; `None` when no more come.
    pub(crate) fn try_request(&mut self) -> io::Result<Option<Message>> {
        let Some(head) = self.try_head()? else { return Ok(None) };
        let body = self.body(&head)?.unwrap_or_default();
        Ok(Some(Message { head, body }))
    }

    pub(crate) fn request(&mut self) -> Message {
        self.try_request().expect("a whole request").expect("a request before the end")
    }

    /// The next response, final or interim, to a request other than HEAD.
    pub(crate) fn try_response(&mut self) -> io::Result<Message> {
        let Some(head) = self.try_head()? else { return Err(ErrorKind::UnexpectedEof.into()) };
        if matches!(status_of(&head), 100..=199 | 204 | 304) {
            return Ok(Message { head, body: Vec::new() });
        }
        let body = match self.body(&head)? {
            Some(body) => body,
            None => self.try_rest()?,
        };
        Ok(Message { head, body })
    }

    pub(crate) fn response(&mut self) -> Message {
        self.try_response().expect("a whole response")
    }

    /// Sends a GET and reads its response.
    pub(crate) fn get(&mut self, target: &str) -> Message {
        self.send(get(target));
        self.response()
    }
}

/// A GET as a browser might send it.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: site.test\r\n\r\n")
}

/// A POST with its length.
pub(crate) fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nHost: site.test\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A 200 with its length.
pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Bytes that look like no others of the same length: a shifted or missing part shows.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut x = 0x2545_F491_u32;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..count.div_ceil(4)).flat_map(|_| next()).collect();
    bytes.truncate(count);
    bytes
}
