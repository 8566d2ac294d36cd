//! The endpoint behind whoever is tested: it reads strictly, keeps every byte, and tells each client which request it
//! answers.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use crate::{
    fixture::eventually,
    readers::Reader,
    strict::{self, Fault},
};

/// A request that has come whole, and been answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: usize,
    pub(crate) summary: String,
}

#[derive(Default)]
struct Record {
    requests: Vec<Seen>,
    answered: usize,
    faults: Vec<Fault>,
    /// Everything that came, by connection.
    bytes: BTreeMap<usize, Vec<u8>>,
    open: usize,
}

/// Listens for as long as the test's process lives.
pub(crate) struct StrictOrigin {
    pub(crate) address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

impl StrictOrigin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = Arc::clone(&record);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let record = Arc::clone(&shared);
                record.lock().unwrap().open += 1;
                thread::spawn(move || {
                    converse(number, stream, &record);
                    record.lock().unwrap().open -= 1;
                });
            }
        });
        Self { address, record }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<Seen> {
        std::mem::take(&mut self.record().requests)
    }

    /// What was sent since the last call and is no request.
    pub(crate) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut self.record().faults)
    }

    /// Every reader finds the messages that were answered, on every connection: nothing that was passed on can be read
    /// in two ways.
    pub(crate) fn expect_one_reading(&self) {
        eventually("every connection has ended", || self.record().open == 0);
        let record = self.record();
        assert!(!record.bytes.is_empty());
        for bytes in record.bytes.values() {
            let mut ends = Vec::new();
            while let Ok(Some(request)) = strict::read(&bytes[ends.last().copied().unwrap_or(0)..])
            {
                ends.push(ends.last().copied().unwrap_or(0) + request.len);
            }
            // What was given up in the middle is nothing to anybody: its connection has ended.
            let whole = &bytes[..ends.last().copied().unwrap_or(0)];
            for reader in Reader::panel() {
                let found = reader.ends(whole);
                if found != ends {
                    let at = found.iter().zip(&ends).take_while(|(a, b)| a == b).count();
                    let from = if at == 0 { 0 } else { ends[at - 1] };
                    let until = ends.get(at).copied().unwrap_or(whole.len());
                    let text = crate::case::escaped(&whole[from..until.min(from + 1_000)]);
                    panic!("{reader:?} reads another message: {text}");
                }
            }
        }
    }
}

fn converse(number: usize, mut stream: TcpStream, record: &Mutex<Record>) {
    stream.set_nodelay(true).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match strict::read(&bytes) {
            Ok(Some(request)) => {
                bytes.drain(..request.len);
                let answer = {
                    let mut record = record.lock().unwrap();
                    let number = record.answered;
                    record.answered += 1;
                    let summary = request.summary;
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 0";
                    let answer = format!("{head}\r\nX-Saw: {number} {summary}\r\n\r\n");
                    record.requests.push(Seen { number, summary });
                    answer
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Ok(None) => match stream.read(&mut piece) {
                Ok(count) if count > 0 => {
                    bytes.extend_from_slice(&piece[..count]);
                    let mut record = record.lock().unwrap();
                    record.bytes.entry(number).or_default().extend_from_slice(&piece[..count]);
                }
                _ => return,
            },
            Err(fault) => {
                record.lock().unwrap().faults.push(fault);
                let head = "HTTP/1.1 400 No\r\nContent-Length: 0\r\nConnection: close";
                let answer = format!("{head}\r\nX-Fault: {fault}\r\n\r\n");
                let _gone = stream.write_all(answer.as_bytes());
                return;
            }
        }
    }
}
