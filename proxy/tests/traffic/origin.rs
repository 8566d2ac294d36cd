//! Endpoints that answer exactly what a test says, and remember what they were sent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::wire::{Message, Wire};

/// A listening endpoint; each connection is a thread that plays the script.
pub(crate) struct Origin {
    listening: Arc<Socket>,
    log: Log,
}

/// What an origin has seen.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Seen>);

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<(usize, Message)>>,
}

impl Log {
    pub(crate) fn push(&self, connection: usize, request: &Message) {
        self.0.requests.lock().unwrap().push((connection, request.clone()));
    }
}

impl Origin {
    /// Plays `script` on each connection; connections are numbered from 0.
    pub(crate) fn scripted(script: impl Fn(usize, Wire, &Log) + Send + Sync + 'static) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), script)
    }

    /// Likewise, at an address of the test's choosing.
    pub(crate) fn at(
        address: SocketAddr,
        script: impl Fn(usize, Wire, &Log) + Send + Sync + 'static,
    ) -> Self {
        let listening = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        listening.set_reuse_address(true).unwrap();
        listening.bind(&address.into()).unwrap();
        Self::on(listening, script)
    }

    /// Likewise, at a Unix socket.
    pub(crate) fn at_path(
        path: &Path,
        script: impl Fn(usize, Wire, &Log) + Send + Sync + 'static,
    ) -> Self {
        let listening = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listening.bind(&SockAddr::unix(path).unwrap()).unwrap();
        Self::on(listening, script)
    }

    fn on(listening: Socket, script: impl Fn(usize, Wire, &Log) + Send + Sync + 'static) -> Self {
        listening.listen(1024).unwrap();
        let (listening, log, script) = (Arc::new(listening), Log::default(), Arc::new(script));
        let (accepting, seen) = (Arc::clone(&listening), log.clone());
        thread::spawn(move || {
            // The end of the listening socket ends the thread.
            while let Ok((socket, _)) = accepting.accept() {
                let connection = seen.0.connections.fetch_add(1, SeqCst);
                let (script, seen) = (Arc::clone(&script), seen.clone());
                thread::spawn(move || script(connection, Wire::new(socket), &seen));
            }
        });
        Self { listening, log }
    }

    /// Answers every request with what `answer` makes of it, on connections kept open.
    pub(crate) fn answering(answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(serve(answer))
    }

    /// Answers every request with a 200 and this body.
    pub(crate) fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::answering(move |_| crate::wire::ok(&name))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.local_addr().unwrap().as_socket().unwrap()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.log.0.connections.load(SeqCst)
    }

    /// Requests logged so far, with the number of the connection each came on.
    pub(crate) fn requests(&self) -> Vec<(usize, Message)> {
        self.log.0.requests.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only_request(&self) -> Message {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.into_iter().next().unwrap().1
    }

    /// Stops listening: from now on the address refuses. Open connections stay.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Wakes the thread that accepts.
        let _ended_already = self.listening.shutdown(std::net::Shutdown::Both);
    }
}

/// A script: keeps the connection and answers each request.
pub(crate) fn serve(
    answer: impl Fn(&Message) -> Vec<u8> + Send + Sync + 'static,
) -> impl Fn(usize, Wire, &Log) + Send + Sync + 'static {
    move |connection, mut wire, log| {
        while let Ok(Some(request)) = wire.try_request() {
            log.push(connection, &request);
            if wire.try_send(answer(&request)).is_err() {
                return;
            }
        }
    }
}

/// An address that refuses connections for as long as this lives.
pub(crate) struct Refusing(Socket);

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}
