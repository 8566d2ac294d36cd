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
    scenario::{DATABASES, Limits, Pool},
    session::{Session, said_in},
    text::{Kept, Sender, Word, sender_of, told_in, verb_of},
    world::{World, dice, sleep},
};

/// The stream of numbers that kills are drawn from.
const KILLS: u64 = 1_000_000;

/// One connection of the pool.
pub(super) struct Server {
    pub(super) process: i32,
    /// Once the pool has said so.
    pub(super) pool: Cell<Option<Pool>>,
    /// When it was made.
    pub(super) since: u64,
    stream: Stream,
    pub(super) logged_in: Cell<bool>,
    gone: Cell<bool>,
    session: RefCell<Session>,
    /// Who it worked for last.
    owner: Cell<Option<Sender>>,
    /// Who began what is open.
    holder: Cell<Option<Sender>>,
    /// Whose text runs.
    works_for: Cell<Option<Sender>>,
    /// Whose it is in session mode: it is for nobody else before it was reset.
    lent_to: Cell<Option<Sender>>,
    /// Whose state is in its session, likewise.
    keeps_of: Cell<Option<Sender>>,
    /// Who may have it to itself.
    tied_to: Cell<Option<Sender>>,
    /// It listens for the pool's clients.
    pub(super) is_ear: Cell<bool>,
    /// It has run what a client wanted.
    pub(super) has_worked: Cell<bool>,
    /// A limit that it exceeds, unless it turns out to listen for clients.
    exceeds: RefCell<Option<String>>,
    /// It is busy with a message, or with what it says.
    is_busy: Cell<bool>,
    /// Notifications that have not been said.
    notices: RefCell<Vec<u8>>,
    cancelled: Cell<bool>,
    /// When it last did something.
    active: Cell<u64>,
    killed: Notify,
}

impl Server {
    /// Whether the pool has let go of it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.get() || self.is(PollFlags::RDHUP)
    }

    /// Whether the pool has said something that it has not read.
    pub(super) fn is_spoken_to(&self) -> bool {
        self.is(PollFlags::IN)
    }

    /// The kernel is asked: the stream's only waker is that of whoever reads.
    fn is(&self, what: PollFlags) -> bool {
        let mut asked = [PollFd::new(&self.stream, what)];
        rustix::event::poll(&mut asked, Some(&Timespec::default())) == Ok(1)
    }

    pub(super) fn is_idle_for(&self, milliseconds: u64, now: u64) -> bool {
        self.logged_in.get()
            && !self.is_ear.get()
            && !self.is_gone()
            && self.works_for.get().is_none()
            && self.session.borrow().is_at_rest()
            && now - self.active.get() >= milliseconds
    }

    /// Takes a notification, if it listens.
    pub(super) fn notify(self: &Rc<Self>, channel: &str, message: &[u8]) {
        if !self.session.borrow().listening.channels.contains(channel) {
            return;
        }
        self.notices.borrow_mut().extend_from_slice(message);
        if !self.is_busy.get() && self.session.borrow().is_at_rest() {
            let server = Rc::clone(self);
            bs9_net::spawn(async move {
                let _gone_otherwise = server.say(Vec::new()).await;
            });
        }
    }

    /// Says an answer, and what was notified, before it is said that the server is ready.
    async fn say(&self, mut out: Vec<u8>) -> Option<()> {
        const READY: usize = 6;
        self.is_busy.set(true);
        loop {
            if self.session.borrow().is_at_rest() {
                let at = out.len().saturating_sub(READY);
                out.splice(at..at, self.notices.take());
            }
            if out.is_empty() {
                break;
            }
            self.stream.write_all(&out).await.ok()?;
            out.clear();
        }
        self.is_busy.set(false);
        Some(())
    }

    pub(super) fn is_of(&self, database: usize) -> bool {
        self.pool.get().is_some_and(|pool| pool.database == database)
    }

    /// It does not listen for clients: the limits of its pool are for it.
    fn is_counted(&self, world: &World) {
        if let Some(exceeds) = self.exceeds.take() {
            world.violated(exceeds);
        }
    }

    /// Who has it to itself for certain.
    fn is_of_session(&self) -> Option<Sender> {
        self.lent_to.get().or(self.keeps_of.get())
    }

    /// Who may have it to itself while it has nothing to do.
    pub(super) fn may_be_of(&self, world: &World) -> Option<Sender> {
        let owner = self.owner.get().filter(|_| world.scenario.has_sessions());
        let on = |sender: &Sender| world.is_on(*sender);
        owner.filter(on).or(self.tied_to.get().filter(on))
    }
}

/// A connection of the pool, whatever it is for.
pub(super) async fn serve(world: Rc<World>, stream: Stream) {
    let process = 1000 + world.number() as i32;
    let server = Rc::new(Server {
        process,
        pool: Cell::new(None),
        since: world.now(),
        stream,
        logged_in: Cell::new(false),
        gone: Cell::new(false),
        session: RefCell::default(),
        owner: Cell::new(None),
        holder: Cell::new(None),
        works_for: Cell::new(None),
        lent_to: Cell::new(None),
        keeps_of: Cell::new(None),
        tied_to: Cell::new(None),
        is_ear: Cell::new(false),
        has_worked: Cell::new(false),
        exceeds: RefCell::default(),
        is_busy: Cell::new(false),
        notices: RefCell::default(),
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
    let (user, name) = (startup.parameters.user(), startup.parameters.database());
    let user = user.strip_prefix('u').and_then(|digits| digits.parse().ok()).expect("a user");
    let database = DATABASES.iter().position(|known| *known == name).expect("a database");
    let pool = Pool { database, user };
    input.drain(..length);
    server.pool.set(Some(pool));
    world.note(|| format!("server {} logs in to {pool:?}", server.process));
    world.servers.borrow_mut().push(Rc::clone(server));
    count(world, server, pool);
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

/// The limits, with one more of `pool`.
fn count(world: &World, new: &Server, pool: Pool) {
    let limits = world.limits.borrow();
    let most = |of: fn(&Limits) -> usize| limits.most_since(world.now(), of);
    let own = |server: &Server| server.pool.get() == Some(pool);
    let of_database = most(|limits| limits.database.unwrap_or(usize::MAX));
    let logs_in = |server: &Server| own(server) && !server.logged_in.get();
    let exceeds = |what: &str, count: usize, limit: usize| {
        (count > limit).then(|| format!("{count} servers {what} where {limit} may be"))
    };
    let all = world.open_to_all(|server| server.is_of(pool.database));
    if let Some(exceeds) = exceeds("of the database", all, of_database) {
        world.violated(exceeds);
    }
    // Who listens for clients is of no pool, and not known before it listens.
    let ear = usize::from(world.may_be_ear(pool, new));
    let of_pool = exceeds("of a pool", world.open(own), most(Limits::most) + ear);
    let logging_in = exceeds("logging in", world.open(logs_in), world.scenario.logins + ear);
    // Nor does it stand in line to log in.
    let ears = if world.scenario.listens { DATABASES.len() } else { 0 };
    let entering = world.open_to_all(|server| !server.logged_in.get());
    let entering = exceeds("entering", entering, world.scenario.entries + ears);
    new.exceeds.replace(of_pool.or(logging_in).or(entering));
    if !world.scenario.listens {
        new.is_counted(world);
    }
}

/// A request to cancel, which is for whoever has that server now.
fn cancel(world: &World, process: i32) {
    let servers = world.servers.borrow();
    let Some(server) = servers.iter().find(|server| server.process == process) else { return };
    let hit = server.works_for.get();
    world.note(|| format!("server {process} is told to cancel what {hit:?} runs"));
    let Some(sender) = hit else { return };
    let client = &world.clients[sender.client];
    let by_pool = world.scenario.query_timeout.is_some() || world.scenario.vanishing;
    if !client.cancels.get() && !by_pool && !world.may_have_been_killed(sender) {
        world.violated(format!("{sender} never asked for a cancel"));
    }
    server.cancelled.set(true);
}

async fn answer(
    world: &Rc<World>,
    server: &Rc<Server>,
    frame: &Frame<'_, FrontendTag>,
) -> Option<()> {
    server.is_busy.set(true);
    if server.session.borrow().is_at_rest() {
        server.holder.set(None);
    }
    if let Some(sender) = server.session.borrow().sender_of(frame) {
        belongs(world, server, sender);
        world.begins(server, sender);
        server.holder.set(Some(sender));
        server.owner.set(Some(sender));
        if world.has_server_to_itself(sender) {
            server.lent_to.set(Some(sender));
        }
    }
    // The pool goes by what it has sent, whatever became of it.
    if let Some(said) = said_in(frame).filter(|said| ties(world, said)) {
        server.tied_to.set(sender_of(&said));
    }
    let text = server.session.borrow().text_of(frame);
    let sender = text.as_deref().and_then(sender_of);
    if let Some((text, sender)) = text.as_deref().zip(sender) {
        world.note(|| format!("server {} runs {}", server.process, told_in(text)));
        server.has_worked.set(true);
        server.is_counted(world);
        server.works_for.set(Some(sender));
        server.cancelled.set(false);
        let until = world.now() + server.session.borrow().pause(text);
        while world.now() < until && !server.cancelled.get() {
            sleep(16.min(until - world.now())).await;
        }
    }
    let own = text.as_deref().is_some_and(|text| text.starts_with("LISTEN \""));
    if own && !server.has_worked.get() {
        server.is_ear.set(true);
    } else if own && !server.session.borrow().keeps_something() {
        // It listens for whoever works with it next.
        server.owner.set(None);
    }
    let out = server.session.borrow_mut().hear(frame, server.cancelled.take());
    if text.is_some_and(|text| verb_of(&text) == "ALL") {
        for one in [&server.owner, &server.lent_to, &server.tied_to] {
            one.set(None);
        }
    }
    let keeps = server.session.borrow().keeps_something();
    server.keeps_of.set(server.owner.get().filter(|_| keeps));
    server.works_for.set(None);
    server.active.set(world.now());
    let notified = std::mem::take(&mut server.session.borrow_mut().listening.notified);
    for (channel, payload) in notified {
        world.notify(server, channel, payload);
    }
    server.say(out).await
}

/// Whether a client that says this may have its server to itself from then on.
fn ties(world: &World, said: &str) -> bool {
    let listens = || Word::by(verb_of(said)).is_some_and(|(word, _)| word == Word::Listen);
    Kept::by(verb_of(said)).is_some() || world.scenario.may_be_deaf() && listens()
}

/// Whether this is someone that the server may work for now.
fn belongs(world: &World, server: &Server, sender: Sender) {
    let process = server.process;
    let another = |who: Option<Sender>| who.filter(|who| *who != sender);
    if let Some(holder) = another(server.holder.get()) {
        world.violated(format!("server {process} has work of {holder} open, and gets {sender}'s"));
    }
    if let Some(owner) = another(server.is_of_session()) {
        world.violated(format!("{sender} has the session that {owner} had"));
    }
    if server.pool.get() != Some(world.clients[sender.client].pool) {
        world.violated(format!("{sender} works as another user, or elsewhere"));
    }
    let servers = world.servers.borrow();
    let left = servers.iter().find(|other| {
        other.process != process && other.is_of_session() == Some(sender) && !other.is_gone()
    });
    if let Some(left) = left {
        let left = left.process;
        world.violated(format!("{sender} has its session on server {left}, and gets {process}"));
    }
    if world.clients[sender.client].was_killed_before(sender, world.now()) {
        world.violated(format!("{sender} was told to go, and works"));
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
