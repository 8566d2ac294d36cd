//! Servers that watch who they work for.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bs9_net::Stream;
use bs9_wire::{
    encode::backend::{self, ErrorReport},
    frame::Frame,
    message::backend::TransactionStatus,
    sqlstate::SqlState,
    startup::FirstPacket,
    tag::FrontendTag,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::Notify;

use super::{
    session::{Session, client_of},
    world::{World, dice, keeps_sessions, sleep},
};

/// The stream of numbers that kills are drawn from.
const KILLS: u64 = 1_000_000;

/// One connection of the pool.
pub(super) struct Server {
    pub(super) process: i32,
    /// Once the pool has said so.
    pub(super) user: Cell<Option<usize>>,
    stream: Stream,
    logged_in: Cell<bool>,
    gone: Cell<bool>,
    session: RefCell<Session>,
    /// Whose state it has.
    owner: Cell<Option<usize>>,
    /// Who began what is open.
    holder: Cell<Option<usize>>,
    /// Whose text runs.
    works_for: Cell<Option<usize>>,
    cancelled: Cell<bool>,
    /// When it last did something.
    active: Cell<u64>,
    killed: Notify,
}

impl Server {
    /// Whether the pool has let go of it.
    fn is_gone(&self) -> bool {
        // The kernel is asked: the stream's only waker is that of whoever reads.
        let mut asked = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        self.gone.get() || rustix::event::poll(&mut asked, Some(&Timespec::default())) == Ok(1)
    }

    pub(super) fn is_idle_for(&self, milliseconds: u64, now: u64) -> bool {
        self.logged_in.get()
            && !self.is_gone()
            && self.works_for.get().is_none()
            && self.session.borrow().is_at_rest()
            && now - self.active.get() >= milliseconds
    }
}

/// A connection of the pool, whatever it is for.
pub(super) async fn serve(world: Rc<World>, stream: Stream) {
    let process = 1000 + world.number() as i32;
    let server = Rc::new(Server {
        process,
        user: Cell::new(None),
        stream,
        logged_in: Cell::new(false),
        gone: Cell::new(false),
        session: RefCell::default(),
        owner: Cell::new(None),
        holder: Cell::new(None),
        works_for: Cell::new(None),
        cancelled: Cell::new(false),
        active: Cell::new(world.now()),
        killed: Notify::new(),
    });
    let talking = converse(&world, &server);
    tokio::select! {
        biased;
        () = server.killed.notified() => {}
        _ended = talking => {}
    }
    world.note(|| format!("server {process} ends"));
    server.gone.set(true);
    world.servers.borrow_mut().retain(|known| known.process != process);
}

async fn converse(world: &Rc<World>, server: &Rc<Server>) -> Option<()> {
    let mut input = Vec::new();
    while !log_in(world, server, &mut input).await? {
        read(world, server, &mut input).await?;
    }
    loop {
        while let Some(length) = Frame::<FrontendTag>::parse(&input).ok()?.map(|f| f.bytes.len()) {
            let message: Vec<u8> = input.drain(..length).collect();
            let frame = Frame::<FrontendTag>::parse(&message).ok()??;
            if frame.tag == FrontendTag::Terminate {
                return None;
            }
            answer(world, server, &frame).await?;
        }
        read(world, server, &mut input).await?;
    }
}

async fn read(world: &Rc<World>, server: &Server, input: &mut Vec<u8>) -> Option<()> {
    let mut buffer = world.buffers.take();
    let count = server.stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
    world.note(|| format!("server {} reads {count} bytes", server.process));
    input.extend_from_slice(buffer.filled());
    Some(())
}

/// True when the pool is in. `None`: it is not to come in, or has what it came for.
async fn log_in(world: &Rc<World>, server: &Rc<Server>, input: &mut Vec<u8>) -> Option<bool> {
    let Some((first, length)) = FirstPacket::parse(input).expect("the pool speaks the protocol")
    else {
        return Some(false);
    };
    let startup = match first {
        FirstPacket::Cancel(request) => {
            cancel(world, request.process_id);
            return None;
        }
        FirstPacket::Startup(startup) => startup,
        other => panic!("the pool says {other:?}"),
    };
    let user = startup.parameters.user().to_owned();
    input.drain(..length);
    let user = user.strip_prefix('u').and_then(|digits| digits.parse().ok()).expect("a user");
    server.user.set(Some(user));
    world.note(|| format!("server {} logs u{user} in", server.process));
    world.servers.borrow_mut().push(Rc::clone(server));
    count(world, user);
    sleep(world.scenario.login_takes).await;
    let mut out = Vec::new();
    if world.refusals.get() > 0 {
        world.refusals.set(world.refusals.get() - 1);
        let report = ErrorReport::fatal(SqlState::CANNOT_CONNECT_NOW, "starting up");
        backend::error_response(&mut out, &report);
        server.stream.write_all(&out).await.ok()?;
        return None;
    }
    backend::authentication_ok(&mut out);
    for (name, value) in [
        ("server_version", "15.0"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("session_authorization", "u"),
        ("is_superuser", "off"),
    ] {
        backend::parameter_status(&mut out, name.as_bytes(), value.as_bytes());
    }
    backend::backend_key_data(&mut out, server.process, &[7; 4]);
    backend::ready_for_query(&mut out, TransactionStatus::Idle);
    server.stream.write_all(&out).await.ok()?;
    server.logged_in.set(true);
    server.active.set(world.now());
    Some(true)
}

/// The limits, with one more of `user`.
fn count(world: &World, user: usize) {
    let servers = world.servers.borrow();
    let open = || servers.iter().filter(|server| !server.is_gone());
    let own = || open().filter(|server| server.user.get() == Some(user));
    let scenario = &world.scenario;
    let most = scenario.pool_size + scenario.reserve;
    let counts = [
        ("of a pool", own().count(), most),
        ("of the database", open().count(), scenario.database.unwrap_or(usize::MAX)),
        ("logging in", own().filter(|one| !one.logged_in.get()).count(), scenario.logins),
    ];
    for (what, count, limit) in counts {
        if count > limit {
            world.violated(format!("{count} servers {what} where {limit} may be"));
        }
    }
}

/// A request to cancel, which is for whoever has that server now.
fn cancel(world: &World, process: i32) {
    let servers = world.servers.borrow();
    let Some(server) = servers.iter().find(|server| server.process == process) else { return };
    let hit = server.works_for.get();
    world.note(|| format!("server {process} is told to cancel what {hit:?} runs"));
    let Some(client) = hit else { return };
    let by_pool = world.scenario.query_timeout.is_some() || world.scenario.vanishing;
    if !world.clients[client].cancels.get() && !by_pool {
        world.violated(format!("client {client} never asked for a cancel"));
    }
    server.cancelled.set(true);
}

async fn answer(
    world: &Rc<World>,
    server: &Rc<Server>,
    frame: &Frame<'_, FrontendTag>,
) -> Option<()> {
    if server.session.borrow().is_at_rest() {
        server.holder.set(None);
    }
    if let Some(client) = server.session.borrow().sender_of(frame) {
        belongs(world, server, client);
        world.begins(client);
        server.holder.set(Some(client));
    }
    let text = server.session.borrow().text_of(frame);
    let client = text.as_deref().and_then(client_of);
    if let Some((text, client)) = text.as_deref().zip(client) {
        world.note(|| format!("server {} runs {text}", server.process));
        server.owner.set(Some(client));
        server.works_for.set(Some(client));
        server.cancelled.set(false);
        let until = world.now() + server.session.borrow().pause(text);
        while world.now() < until && !server.cancelled.get() {
            sleep(16.min(until - world.now())).await;
        }
    }
    let out = server.session.borrow_mut().hear(frame, server.cancelled.take());
    if server.session.borrow().is_fresh {
        server.owner.set(None);
    }
    server.works_for.set(None);
    server.active.set(world.now());
    server.stream.write_all(&out).await.ok()
}

/// Whether this is a client that the server may work for now.
fn belongs(world: &World, server: &Server, client: usize) {
    let another = |who: &Cell<Option<usize>>| who.get().filter(|who| *who != client);
    if let Some(holder) = another(&server.holder) {
        let process = server.process;
        world.violated(format!("server {process} has work of {holder} open, and gets {client}'s"));
    }
    if let Some(owner) = another(&server.owner).filter(|_| keeps_sessions(world)) {
        world.violated(format!("{client} has the session that {owner} had"));
    }
    if server.user.get() != Some(world.clients[client].user) {
        world.violated(format!("client {client} works as another user"));
    }
}

/// Ends servers now and then, with or without a word.
pub(super) async fn kill(world: Rc<World>) {
    let mut dice = dice(&world, KILLS);
    for _ in 0..1 + dice.below(4) {
        sleep(dice.below(400)).await;
        let servers = world.servers.borrow().clone();
        if servers.is_empty() {
            continue;
        }
        let server = &servers[dice.below(servers.len() as u64) as usize];
        world.note(|| format!("server {} is killed", server.process));
        if dice.once_in(2) && server.logged_in.get() {
            let mut last = Vec::new();
            let report = ErrorReport::fatal(SqlState::ADMIN_SHUTDOWN, "killed");
            backend::error_response(&mut last, &report);
            let _nobody_listens = server.stream.write_all(&last).await;
        }
        server.gone.set(true);
        server.killed.notify_one();
    }
}
