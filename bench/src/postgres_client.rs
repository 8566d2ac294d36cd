//! A PostgreSQL client that asks one thing at a time and needs no password.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bs9_wire::encode::frontend;
use bs9_wire::frame::Frame;
use bs9_wire::startup::{ProtocolVersion, StartupParameters, startup_message};
use bs9_wire::tag::BackendTag;

use crate::postgres::{DATABASE, USER};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Between two reads: also how long a reply may take.
const READ_LIMIT: Duration = Duration::from_secs(10);
/// What is asked here has short replies.
const REPLY_LIMIT_BYTES: usize = 64 * 1024;

/// The rest of a Bind: no formats, no parameters, all results as text.
const WITHOUT_PARAMETERS: &[u8] = &[0; 6];
/// An Execute of the unnamed portal, all rows.
const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";

/// A client that has logged in.
#[derive(Debug)]
pub(crate) struct PostgresClient {
    stream: TcpStream,
}

impl PostgresClient {
    /// Connects and logs in to the bench's database.
    pub(crate) fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_LIMIT))?;
        stream.set_write_timeout(Some(READ_LIMIT))?;
        let mut client = Self { stream };
        let mut hello = Vec::new();
        let session = StartupParameters { user: USER, database: DATABASE };
        startup_message(&mut hello, ProtocolVersion::V3_0, session, []);
        client.exchange(&hello).context("logging in")?;
        Ok(client)
    }

    /// Sends a simple query that has a row for an answer, and waits for its end.
    pub(crate) fn query(&mut self, text: &str) -> anyhow::Result<()> {
        let mut message = Vec::new();
        frontend::query(&mut message, text);
        let rows = self.exchange(&message).with_context(|| format!("asking {text:?}"))?;
        ensure!(rows == 1, "{text:?} was answered with {rows} rows");
        Ok(())
    }

    /// Prepares a statement without parameters under a name.
    pub(crate) fn prepare(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let mut message = Vec::new();
        frontend::parse(&mut message, name.as_bytes(), text.as_bytes(), &[]);
        frontend::sync(&mut message);
        self.exchange(&message).with_context(|| format!("preparing {text:?}"))?;
        Ok(())
    }

    /// Binds and executes it; it has a row for an answer.
    pub(crate) fn execute(&mut self, name: &str) -> anyhow::Result<()> {
        let mut message = Vec::new();
        frontend::bind_head(&mut message, b"", name.as_bytes(), WITHOUT_PARAMETERS.len());
        message.extend_from_slice(WITHOUT_PARAMETERS);
        message.extend_from_slice(EXECUTE);
        frontend::sync(&mut message);
        let rows = self.exchange(&message).with_context(|| format!("executing {name:?}"))?;
        ensure!(rows == 1, "{name:?} was answered with {rows} rows");
        Ok(())
    }

    /// Sends `message`, reads up to the ReadyForQuery, and counts rows.
    fn exchange(&mut self, message: &[u8]) -> anyhow::Result<usize> {
        self.stream.write_all(message)?;
        let mut received = Vec::new();
        let mut piece = [0; 2048];
        let (mut at, mut rows) = (0, 0);
        loop {
            while let Some(frame) = Frame::<BackendTag>::parse(&received[at..])? {
                match frame.tag {
                    BackendTag::ReadyForQuery => return Ok(rows),
                    BackendTag::DataRow => rows += 1,
                    BackendTag::ErrorResponse => {
                        bail!("refused: {:?}", String::from_utf8_lossy(frame.body));
                    }
                    _ => {}
                }
                at += frame.bytes.len();
            }
            ensure!(received.len() < REPLY_LIMIT_BYTES, "a reply without an end");
            let count = self.stream.read(&mut piece)?;
            ensure!(count > 0, "the connection was closed before a reply");
            received.extend_from_slice(&piece[..count]);
        }
    }
}
