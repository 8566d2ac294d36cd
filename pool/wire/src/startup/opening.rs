//! The order first packets may come in.

use super::{FirstPacket, StartupError};

/// One connection's opening: at most one request for each kind of encryption, each of them alone,
/// then a StartupMessage or CancelRequest.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    tls_settled: bool,
    gss_settled: bool,
}

impl Opening {
    /// The opening of a connection on which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next first packet `input` starts with, and how many bytes it takes up; `None`
    /// when part of it is still to come. `input` is all that was received and not yet taken.
    ///
    /// # Errors
    /// [`StartupError`] when the packet cannot be, or may not come now.
    pub fn next<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<Option<(FirstPacket<'a>, usize)>, StartupError> {
        let Some((packet, len)) = FirstPacket::parse(input)? else { return Ok(None) };
        let settled = match packet {
            FirstPacket::DirectTls | FirstPacket::SslRequest => &mut self.tls_settled,
            FirstPacket::GssRequest => &mut self.gss_settled,
            FirstPacket::Cancel(_) | FirstPacket::Startup(_) => return Ok(Some((packet, len))),
        };
        if *settled {
            return Err(StartupError::Repeated);
        }
        *settled = true;
        // A direct handshake takes up no bytes here, and all that is buffered is part of it.
        if packet != FirstPacket::DirectTls && input.len() > len {
            return Err(StartupError::BufferedBehindRequest { count: input.len() - len });
        }
        Ok(Some((packet, len)))
    }

    /// Notes that the connection is encrypted now: nothing may ask for that again.
    pub fn encrypted(&mut self) {
        self.tls_settled = true;
        self.gss_settled = true;
    }
}
