//! TLS, a client's side, around any other protocol.
//!
//! The handshake is part of the login: a connection that cannot agree on one is never ready.

use std::{
    io::{BufRead as _, Write as _},
    sync::Arc,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error,
    pki_types::ServerName,
};

use crate::{
    failure::Failure,
    protocol::{Beginning, Complete, Login, Protocol, Receipt, Reuse},
};

mod trust;

pub use trust::{TlsError, TlsOptions};

/// The name of HTTP/1.1 in the handshake (RFC 7301).
pub(crate) const HTTP1: &[u8] = b"http/1.1";
/// The name of HTTP/2 (RFC 9113 section 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";
/// The name of PostgreSQL (its documentation, "SSL Session Encryption").
pub(crate) const POSTGRESQL: &[u8] = b"postgresql";

/// What connections of a run agree on with the server.
#[derive(Debug, Clone)]
pub(crate) struct Agreement {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// The protocol inside, when the server has to confirm it.
    required: Option<&'static [u8]>,
    /// Whether TLS is asked for first, as PostgreSQL wants it.
    asks: bool,
}

/// Another protocol, spoken over TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls<P> {
    agreement: Agreement,
    inner: P,
}

/// A connection, and what the protocol inside knows of it.
#[derive(Debug)]
pub(crate) struct Session<S> {
    link: Option<Box<ClientConnection>>,
    inner: S,
    /// What the protocol inside wants sent.
    plain: Vec<u8>,
    stage: Stage,
    /// Whether the server said that nothing comes any more.
    closed: bool,
}

/// How far a login is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server is asked whether it speaks TLS.
    Asking,
    Handshake,
    /// The protocol inside logs in.
    LoggingIn,
    LoggedIn,
}

/// What the protocol inside sees of a connection.
struct Inside<'a, S> {
    session: &'a mut S,
    plain: &'a mut Vec<u8>,
    stage: &'a mut Stage,
}

// === impl Stage ===

impl Stage {
    fn after(login: Login) -> Self {
        match login {
            Login::Pending => Self::LoggingIn,
            Login::Done => Self::LoggedIn,
        }
    }
}

// === impl Agreement ===

impl Agreement {
    /// For a host, as it stands in the URL.
    ///
    /// # Errors
    /// [`TlsError`] when there is nothing to trust, or the name is none.
    pub(crate) fn new(
        host: &str,
        options: &TlsOptions,
        protocol: Option<&'static [u8]>,
    ) -> Result<Self, TlsError> {
        let name = options.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::Name { name: name.to_owned() })?;
        let mut config = trust::client_config(options)?;
        config.alpn_protocols = protocol.iter().map(|protocol| protocol.to_vec()).collect();
        // A server that says nothing speaks HTTP/1.1 (RFC 9113 section 3.2).
        let required = protocol.filter(|&protocol| protocol != HTTP1);
        Ok(Self { config: Arc::new(config), name, required, asks: false })
    }

    /// The same, for a server of PostgreSQL that has to be asked first (SSLRequest).
    pub(crate) fn asking(self) -> Self {
        Self { asks: true, ..self }
    }

    /// A connection, as far as the client goes on its own.
    fn begin(&self) -> Result<Box<ClientConnection>, Failure> {
        let link = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut link = link.map_err(failure_of)?;
        link.set_buffer_limit(None);
        Ok(Box::new(link))
    }

    fn check(&self, link: &ClientConnection) -> Result<(), Failure> {
        if self.required.is_none() || link.alpn_protocol() == self.required {
            return Ok(());
        }
        let required = if self.required == Some(HTTP2) { "HTTP/2" } else { "PostgreSQL" };
        Err(Failure::Tls(format!("the server does not speak {required}: it did not choose it")))
    }
}

// === impl Tls ===

impl<P> Tls<P> {
    pub(crate) fn new(agreement: Agreement, inner: P) -> Self {
        Self { agreement, inner }
    }
}

impl<P: Protocol> Tls<P> {
    fn shake_hands(
        &self,
        session: &mut Session<P::Session>,
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        session.link = Some(self.agreement.begin()?);
        session.stage = Stage::Handshake;
        Self::close_up(session, out);
        Ok(Login::Pending)
    }

    /// Gives what arrived to `take`, decrypted, piece by piece.
    fn open(
        &mut self,
        session: &mut Session<P::Session>,
        mut input: &[u8],
        mut take: impl FnMut(&mut P, Inside<'_, P::Session>, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Session { link: Some(link), inner: session, plain, stage, closed } = session else {
            return Err(Failure::Closed);
        };
        while !input.is_empty() {
            link.read_tls(&mut input).map_err(Failure::Other)?;
            let state = link.process_new_packets().map_err(failure_of)?;
            *closed |= state.peer_has_closed();
            if link.is_handshaking() {
                continue;
            }
            if *stage == Stage::Handshake {
                self.agreement.check(link)?;
                *stage = Stage::after(self.inner.connected(session, plain)?);
            }
            let mut reader = link.reader();
            while let Ok(piece @ [_, ..]) = reader.fill_buf() {
                let len = piece.len();
                take(&mut self.inner, Inside { session, plain, stage }, piece)?;
                reader.consume(len);
            }
        }
        Ok(())
    }

    /// Encrypts what the protocol inside wants sent, and puts it behind what TLS itself says.
    fn close_up(session: &mut Session<P::Session>, out: &mut Vec<u8>) {
        if let Session { link: Some(link), plain, .. } = session {
            Self::encrypt(link, plain, &[], out);
        }
    }

    fn encrypt(
        link: &mut ClientConnection,
        plain: &mut Vec<u8>,
        request: &[u8],
        out: &mut Vec<u8>,
    ) {
        const ROOM: &str = "a connection without limits takes all there is";
        if !plain.is_empty() {
            link.writer().write_all(plain).expect(ROOM);
            plain.clear();
        }
        link.writer().write_all(request).expect(ROOM);
        while link.wants_write() {
            link.write_tls(out).expect("memory takes all there is");
        }
    }
}

impl<P: Protocol> Protocol for Tls<P> {
    type Session = Session<P::Session>;

    const MULTIPLEXED: bool = P::MULTIPLEXED;

    fn settle(&mut self, index: usize, threads: usize) {
        self.inner.settle(index, threads);
    }

    fn session(&self) -> Self::Session {
        Session {
            link: None,
            inner: self.inner.session(),
            plain: Vec::new(),
            stage: Stage::Handshake,
            closed: false,
        }
    }

    fn lanes(&self) -> usize {
        self.inner.lanes()
    }

    fn connected(
        &mut self,
        session: &mut Self::Session,
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        session.link = None;
        session.plain.clear();
        session.closed = false;
        if self.agreement.asks {
            session.stage = Stage::Asking;
            bs9_wire::startup::ssl_request(out);
            return Ok(Login::Pending);
        }
        self.shake_hands(session, out)
    }

    fn login(
        &mut self,
        session: &mut Self::Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Login, Failure> {
        if session.stage == Stage::Asking {
            return match input {
                b"S" => self.shake_hands(session, out),
                // Somebody in between may have put them there (CVE-2021-23222).
                [b'S', ..] => Err(Failure::Tls("bytes came ahead of the handshake".to_owned())),
                _ => Err(Failure::Tls("the server does not take TLS".to_owned())),
            };
        }
        self.open(session, input, |protocol, inside, piece| {
            let Inside { session, plain, stage } = inside;
            if *stage == Stage::LoggingIn {
                *stage = Stage::after(protocol.login(session, piece, plain)?);
            } else if protocol.idle(session, piece, plain) == Reuse::Close {
                return Err(Failure::Closed);
            }
            Ok(())
        })?;
        Self::close_up(session, out);
        Ok(if session.stage == Stage::LoggedIn { Login::Done } else { Login::Pending })
    }

    fn begin(
        &mut self,
        session: &mut Self::Session,
        beginning: Beginning,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        self.inner.begin(&mut session.inner, beginning, &mut session.plain)?;
        // Of several that begin together `seal` makes one record.
        if !P::MULTIPLEXED {
            let Session { link: Some(link), inner, plain, .. } = session else {
                return Err(Failure::Closed);
            };
            Self::encrypt(link, plain, self.inner.request(inner), out);
        }
        Ok(())
    }

    fn seal(&mut self, session: &mut Self::Session, out: &mut Vec<u8>) {
        self.inner.seal(&mut session.inner, &mut session.plain);
        Self::close_up(session, out);
    }

    fn receive(
        &mut self,
        session: &mut Self::Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Receipt, Failure> {
        let mut receipt = Receipt::More;
        self.open(session, input, |protocol, Inside { session, plain, .. }, piece| {
            if matches!(receipt, Receipt::Complete(_)) {
                return Err(Failure::Protocol("bytes follow behind the response"));
            }
            receipt = protocol.receive(session, piece, plain)?;
            Ok(())
        })?;
        if session.closed {
            receipt = match receipt {
                // What came before may have answered requests, or returned them.
                Receipt::More if P::MULTIPLEXED => Receipt::More,
                Receipt::More => Receipt::Complete(self.inner.ended(&mut session.inner)?),
                Receipt::Complete(complete) => {
                    Receipt::Complete(Complete { reuse: Reuse::Close, ..complete })
                }
            };
        }
        Self::close_up(session, out);
        Ok(receipt)
    }

    fn completed(&mut self, session: &mut Self::Session) -> Option<Complete> {
        self.inner.completed(&mut session.inner)
    }

    fn returned(&mut self, session: &mut Self::Session) -> Option<usize> {
        self.inner.returned(&mut session.inner)
    }

    fn is_draining(&self, session: &Self::Session) -> bool {
        session.closed || self.inner.is_draining(&session.inner)
    }

    fn abandon(&mut self, session: &mut Self::Session, lane: usize, out: &mut Vec<u8>) -> Reuse {
        let reuse = self.inner.abandon(&mut session.inner, lane, &mut session.plain);
        Self::close_up(session, out);
        reuse
    }

    /// Without the server's word that this is all, somebody may have cut it short.
    fn ended(&mut self, session: &mut Self::Session) -> Result<Complete, Failure> {
        if session.closed { self.inner.ended(&mut session.inner) } else { Err(Failure::Closed) }
    }

    fn idle(&mut self, session: &mut Self::Session, input: &[u8], out: &mut Vec<u8>) -> Reuse {
        let mut reuse = Reuse::Keep;
        let opened = self.open(session, input, |protocol, Inside { session, plain, .. }, piece| {
            if protocol.idle(session, piece, plain) == Reuse::Close {
                reuse = Reuse::Close;
            }
            Ok(())
        });
        Self::close_up(session, out);
        if opened.is_err() || session.closed { Reuse::Close } else { reuse }
    }

    fn farewell(&mut self, session: &mut Self::Session, out: &mut Vec<u8>) {
        self.inner.farewell(&mut session.inner, &mut session.plain);
        if let Some(link) = &mut session.link {
            let _nobody_reads_it = link.writer().write_all(&session.plain);
            session.plain.clear();
            link.send_close_notify();
        }
        Self::close_up(session, out);
    }
}

/// Why a certificate is refused, in words.
fn doubt_of(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted has signed it; --ca FILE trusts another one".to_owned()
        }
        // Most are made by hand with one command, and signed by themselves.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is an authority's, not a server's; have it sign one for the server".to_owned()
        }
        reason => reason.to_string(),
    }
}

/// What went wrong in words, and whose fault it is.
fn failure_of(error: Error) -> Failure {
    match error {
        Error::InvalidCertificate(reason) => Failure::Certificate(doubt_of(&reason)),
        Error::NoCertificatesPresented => {
            Failure::Certificate("the server has presented none".to_owned())
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => Failure::Tls(
            "the server does not speak what was asked for (no application protocol)".to_owned(),
        ),
        Error::InvalidMessage(_) => {
            Failure::Tls("what the server says is not TLS, or broken".to_owned())
        }
        error => Failure::Tls(error.to_string()),
    }
}
