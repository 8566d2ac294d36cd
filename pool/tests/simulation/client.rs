//! Clients that check every word they hear.

use std::{collections::VecDeque, rc::Rc};

use bs9_net::Stream;
use bs9_wire::{
    encode::frontend,
    frame::Frame,
    message::{
        Report,
        backend::{Notification, TransactionStatus},
    },
    startup::{ProtocolVersion, StartupParameters, cancel_request, startup_message},
    tag::{BackendTag, FrontendTag, Tag as _},
};

use super::{
    listening::Hearing,
    scenario::{DATABASES, Dice, Mode, Pool},
    session::Session,
    text::{ALL_CHANNELS, Kept, Sender, Word},
    world::{Standing, World, dice, sleep},
};
use crate::postgres::{Batch, batch};

/// Sessions that a client begins, when the ones before were cut off.
const MOST_LOGINS: u64 = 5;
/// Bits of a client's process id behind those that tell its shard.
const SHARD: u32 = 21;
/// Channels there are.
const CHANNELS: [&str; 2] = ["a", "b"];
/// What makes a text longer than a buffer.
const FILLER: usize = 6000;

/// What is said in one go.
struct Turn {
    bytes: Vec<u8>,
    /// A query that sleeps, alone: it may be cancelled.
    sleeps: bool,
    /// It may be that the client keeps its server from now on.
    ties: bool,
    /// What it says of channels.
    words: Vec<(Word, &'static str)>,
}

/// Why a session is over.
enum Over {
    /// The pool said why, and might.
    CutOff,
    /// Nobody is let in.
    Refused,
    /// The client has left by itself.
    Left,
}

struct Client {
    world: Rc<World>,
    sender: Sender,
    pool: Pool,
    dice: Dice,
    /// A server of its own: what it ought to hear.
    ideal: Session,
    stream: Stream,
    received: Vec<u8>,
    process_id: i32,
    secret: Vec<u8>,
    /// Names it has prepared.
    prepared: Vec<&'static str>,
    /// When it last began to say something outside of a transaction.
    said: Option<u64>,
    /// It may have a server to itself.
    holds: bool,
    hearing: Hearing,
}

/// Lives its life: logs in, takes its turns, leaves.
pub(super) async fn live(world: Rc<World>, number: usize) {
    let mut dice = dice(&world, 1 + number as u64);
    let mut turns = world.scenario.turns;
    sleep(dice.below(60)).await;
    let standing = &world.clients[number];
    for session in 1..=MOST_LOGINS {
        // Refused when the simulation has ended: then nobody counts who is done.
        let Ok(stream) = Stream::connect_unix(&world.folder.join("pool")).await else { return };
        standing.enter(session, world.now());
        world.comes_to(dice.below(world.scenario.shards as u64));
        let mut client = Client {
            world: Rc::clone(&world),
            sender: Sender { client: number, session },
            pool: standing.pool,
            dice: dice.clone(),
            ideal: Session::ideal(world.scenario.refuses),
            stream,
            received: Vec::new(),
            process_id: 0,
            secret: Vec::new(),
            prepared: Vec::new(),
            said: None,
            holds: false,
            hearing: Hearing::default(),
        };
        let over = client.session(&mut turns).await;
        dice = client.dice.clone();
        standing.leave();
        world.note(|| format!("{} is out", client.sender));
        drop(client);
        match over {
            _ if turns == 0 => break,
            Err(Over::Left) if dice.once_in(2) => break,
            Err(Over::Refused) => sleep(dice.pick(&[20, 100, 300])).await,
            _ => {}
        }
    }
    standing.done.set(true);
}

/// A message in words, without what is another every time.
fn words(tag: BackendTag, body: &[u8]) -> String {
    let text = match tag {
        BackendTag::ErrorResponse => {
            let report = Report::read(body).expect("a report");
            String::from_utf8_lossy(report.sqlstate().unwrap_or_default()).into_owned()
        }
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    format!("{} {text}", char::from(tag.byte()))
}

fn all_words(mut stream: &[u8]) -> VecDeque<String> {
    let mut heard = VecDeque::new();
    while let Some(frame) = Frame::<BackendTag>::parse(stream).expect("a message") {
        heard.push_back(words(frame.tag, frame.body));
        stream = &stream[frame.bytes.len()..];
    }
    heard
}

impl Turn {
    fn new(batch: Batch) -> Self {
        Self { bytes: batch.0, sleeps: false, ties: false, words: Vec::new() }
    }
}

impl Client {
    async fn session(&mut self, turns: &mut u64) -> Result<(), Over> {
        self.log_in().await?;
        while *turns > 0 {
            *turns -= 1;
            sleep(self.dice.pick(&[0, 0, 10, 40, 150])).await;
            self.turn().await?;
        }
        if self.ideal.status != TransactionStatus::Idle {
            let text = self.text("commit");
            self.say(Turn::new(batch().query(&text))).await?;
        }
        if self.world.scenario.listens {
            // To hear what there is.
            sleep(20).await;
            let text = self.text("echo");
            self.say(Turn::new(batch().query(&text))).await?;
        }
        let mut out = Vec::new();
        frontend::terminate(&mut out);
        let _nobody_listens = self.stream.write_all(&out).await;
        Ok(())
    }

    fn standing(&self) -> &Standing {
        &self.world.clients[self.sender.client]
    }

    async fn log_in(&mut self) -> Result<(), Over> {
        let user = format!("u{}", self.pool.user);
        let mut out = Vec::new();
        let session = StartupParameters { user: &user, database: DATABASES[self.pool.database] };
        startup_message(&mut out, ProtocolVersion::V3_0, session, []);
        self.write(&out).await?;
        loop {
            let (tag, body) = self.next().await?;
            match tag {
                BackendTag::ReadyForQuery => {
                    self.world.let_in(self.sender);
                    return Ok(());
                }
                BackendTag::BackendKeyData => {
                    self.process_id = i32::from_be_bytes(body[..4].try_into().expect("a number"));
                    self.standing().shard.set((self.process_id - 1) as usize >> SHARD);
                    self.secret = body[4..].to_vec();
                }
                BackendTag::ErrorResponse => {
                    let why = words(tag, &body);
                    if why == "E 55000" && self.world.may_turn_away(self.sender) {
                        return Err(Over::Refused);
                    }
                    return Err(self.cut_off(&why));
                }
                _ => {}
            }
        }
    }

    /// The connection is at its end, or was told to be.
    fn cut_off(&self, why: &str) -> Over {
        let (world, sender) = (&self.world, self.sender);
        world.note(|| format!("{sender} is cut off: {why}"));
        let killed = world.may_have_been_killed(sender);
        let may_be = match why.strip_prefix("E ") {
            Some("57P01") if killed => true,
            Some(sqlstate) => world.scenario.allows(sqlstate),
            // There is nothing to be said in the middle of a message.
            None => world.scenario.kills || killed && !self.received.is_empty(),
        };
        if !may_be {
            world.violated(format!("{sender} was cut off: {why}"));
        }
        Over::CutOff
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), Over> {
        // What the pool says last is still to be read.
        let _nobody_listens = self.stream.write_all(bytes).await;
        Ok(())
    }

    /// The next message that is an answer.
    async fn next(&mut self) -> Result<(BackendTag, Vec<u8>), Over> {
        loop {
            if let Some(frame) = Frame::<BackendTag>::parse(&self.received).expect("a message") {
                let (tag, body) = (frame.tag, frame.body.to_vec());
                let length = frame.bytes.len();
                self.received.drain(..length);
                match tag {
                    BackendTag::NoticeResponse | BackendTag::ParameterStatus => continue,
                    BackendTag::NotificationResponse => self.notified(&body),
                    tag => return Ok((tag, body)),
                }
                continue;
            }
            let mut buffer = self.world.buffers.take();
            match self.stream.read(&mut buffer).await {
                Ok(1..) => {
                    self.world.note(|| format!("{} hears something", self.sender));
                    self.received.extend_from_slice(buffer.filled());
                }
                Ok(0) | Err(_) => return Err(self.cut_off("without a word")),
            }
        }
    }

    fn notified(&mut self, body: &[u8]) {
        let read = Notification::read(body).expect("a notification");
        let payload = String::from_utf8_lossy(read.payload);
        let notices = self.world.notices.borrow();
        let known = notices.iter().enumerate().find(|(_, known)| {
            known.payload == payload && known.channel.as_bytes() == read.channel
        });
        let problem = match known {
            None => Some("nobody has notified that"),
            Some((_, notice)) if notice.database != self.pool.database => Some("not there"),
            // While it is moved to a server of its own, things may be heard twice.
            Some((number, notice)) => self.hearing.hear(number, notice, self.holds),
        };
        if let Some(problem) = problem {
            self.world.violated(format!("{} hears of {payload}: {problem}", self.sender));
        }
    }

    // === What is said ===

    fn text(&mut self, verb: &str) -> String {
        format!("{} n{} {verb}", self.sender, self.world.number())
    }

    async fn turn(&mut self) -> Result<(), Over> {
        let idle = self.ideal.status == TransactionStatus::Idle;
        if idle && self.dice.once_in(5) {
            let verb = format!("sleep{}", self.dice.pick(&[5, 30, 100, 300]));
            let turn = Turn { sleeps: true, ..Turn::new(batch().query(&self.text(&verb))) };
            return self.say(turn).await;
        }
        let (mut batch, mut ties, mut words) = (batch(), false, Vec::new());
        for _ in 0..1 + self.dice.below(4) {
            if self.world.scenario.keeps && self.dice.once_in(8) {
                batch = self.keep(batch);
                ties = true;
            } else if self.world.scenario.listens && self.dice.once_in(3) {
                let (word, channel);
                (batch, word, channel) = self.talk(batch);
                ties |= word == Word::Listen && self.world.scenario.may_be_deaf();
                words.push((word, channel));
            } else {
                batch = self.piece(batch);
            }
        }
        self.say(Turn { ties, words, ..Turn::new(batch) }).await
    }

    /// Listens, or notifies.
    fn talk(&mut self, batch: Batch) -> (Batch, Word, &'static str) {
        let word = self.dice.pick(&[Word::Listen, Word::Unlisten, Word::Notify, Word::Notify]);
        let all = word == Word::Unlisten && self.dice.once_in(3);
        let channel = if all { ALL_CHANNELS } else { self.dice.pick(&CHANNELS) };
        let (sql, told) = (format!("{} {channel}", word.sql()), self.text(&word.verb(channel)));
        let batch = if self.dice.once_in(2) {
            batch.query(&format!("{sql} -- {told}"))
        } else {
            batch.parse("", &sql).run("", &[&told]).sync()
        };
        (batch, word, channel)
    }

    /// Something whole: a query, a batch, a COPY.
    fn piece(&mut self, batch: Batch) -> Batch {
        let transactions = self.world.scenario.limits.mode != Mode::Statement;
        match self.dice.below(13) {
            0..3 => batch.query(&self.text("echo")),
            3 => batch.query(&self.text("fail")),
            4 => batch.query(&self.text("big")),
            5 if transactions => batch.query(&self.text("begin")),
            6 if transactions => batch.query(&self.text("commit")),
            7 => {
                let batch = batch.query(&self.text("copy")).copy_data("1\n");
                if self.dice.once_in(2) { batch.copy_done() } else { batch.copy_fail("no") }
            }
            8 => batch.query(&self.text("look")),
            _ => self.extended(batch),
        }
    }

    /// Makes something that its session keeps, or ends it.
    fn keep(&mut self, batch: Batch) -> Batch {
        let (kept, makes) = (self.dice.pick(&Kept::ALL), !self.dice.once_in(3));
        let filler = "x".repeat(if self.dice.once_in(6) { FILLER } else { 0 });
        let (sql, told) = (kept.sql(makes, &filler), self.text(kept.verb(makes)));
        if self.dice.once_in(2) {
            return batch.query(&format!("{sql} -- {told}"));
        }
        let name = if self.dice.once_in(2) { kept.verb(makes) } else { "" };
        let batch = if self.prepared.contains(&name) && !name.is_empty() {
            batch
        } else {
            self.prepared.push(name);
            batch.parse(name, &sql)
        };
        batch.run(name, &[&told]).sync()
    }

    fn extended(&mut self, mut batch: Batch) -> Batch {
        for _ in 0..1 + self.dice.below(3) {
            let name = self.dice.pick(&["", "one", "two"]);
            if !self.prepared.contains(&name) || name.is_empty() || self.dice.once_in(8) {
                batch = batch.parse(name, self.dice.pick(&["work", "work harder"]));
                self.prepared.push(name);
            }
            let text = match self.dice.below(8) {
                0 => self.text("fail"),
                1 => self.text("big"),
                _ => self.text("echo"),
            };
            batch = batch.run(name, &[&text]);
            if self.dice.once_in(6) {
                batch = batch.close(name);
                self.prepared.retain(|known| *known != name);
            }
            if self.dice.once_in(6) {
                batch = batch.flush();
            }
        }
        batch.sync()
    }

    // === Saying it, and hearing the answer ===

    async fn say(&mut self, turn: Turn) -> Result<(), Over> {
        let idle = self.ideal.status == TransactionStatus::Idle;
        if idle {
            self.standing().since.set(self.world.now());
            let before = self.said.replace(self.world.now());
            let limits = self.world.limits.borrow();
            self.holds |= before.is_some_and(|before| limits.had_sessions_since(before));
        }
        let due = self.due(idle);
        let next = self.world.notices.borrow().len();
        for (word, channel) in &turn.words {
            match word {
                Word::Listen => self.hearing.ask(channel, next),
                Word::Unlisten => self.hearing.doubt(channel),
                Word::Notify => {}
            }
        }
        let mut wanted = VecDeque::new();
        let mut rest = &turn.bytes[..];
        let (mut in_first_cycle, mut can_be_told) = (true, false);
        while let Some(frame) = Frame::<FrontendTag>::parse(rest).expect("a message") {
            can_be_told |= in_first_cycle && self.ideal.sender_of(&frame).is_some();
            in_first_cycle &= !matches!(frame.tag, FrontendTag::Query | FrontendTag::Sync);
            wanted.extend(all_words(&self.ideal.hear(&frame, false)));
            rest = &rest[frame.bytes.len()..];
        }
        let world = Rc::clone(&self.world);
        let standing = &world.clients[self.sender.client];
        standing.cancels.set(false);
        let (mut said, began) = (&turn.bytes[..], world.now());
        if self.dice.once_in(5) {
            let cut = 1 + self.dice.below(said.len() as u64 - 1) as usize;
            standing.dawdles.set(true);
            self.write(&said[..cut]).await?;
            sleep(self.dice.pick(&[0, 20, 100])).await;
            said = &said[cut..];
        }
        if world.scenario.vanishing && self.dice.once_in(12) {
            // In the middle of what it says.
            return Err(Over::Left);
        }
        // What was begun already is not waited for.
        let begun = standing.dawdles.replace(false);
        let (vanishes, cancels) = (
            world.scenario.vanishing && self.dice.once_in(12),
            turn.sleeps && world.scenario.cancels && self.dice.once_in(2),
        );
        // Nor what the pool may refuse, or while the client does not listen.
        let listens = !(vanishes || cancels || turn.ties && world.scenario.refuses);
        if idle && !begun && can_be_told && listens && !self.holds {
            standing.asked.set(Some(world.now()));
        }
        self.holds |= turn.ties;
        world.note(|| {
            let said: String = turn.bytes.escape_ascii().take(600).map(char::from).collect();
            format!("{} says {said}", self.sender)
        });
        self.write(said).await?;
        if vanishes {
            sleep(self.dice.pick(&[0, 10, 50])).await;
            return Err(Over::Left);
        }
        if cancels {
            sleep(self.dice.pick(&[0, 10, 40, 120])).await;
            self.cancel().await;
        }
        self.hear(wanted, turn.sleeps).await?;
        if standing.was_killed_before(self.sender, began) {
            world.violated(format!("{} was told to go, and is served", self.sender));
        }
        if let Some(missed) = due.into_iter().find(|number| !self.hearing.has_heard(*number)) {
            let notices = world.notices.borrow();
            let payload = &notices[missed].payload;
            world.violated(format!("{} has not heard of {payload}", self.sender));
        }
        let switches = world.scenario.switches && world.limits.borrow().had_sessions_since(began);
        if turn.ties || switches {
            self.hearing.excuse(&world.notices.borrow(), began);
        }
        if self.ideal.status == TransactionStatus::Idle {
            let next = world.notices.borrow().len();
            self.hearing.settle(&self.ideal.listening.channels, next);
        }
        Ok(())
    }

    /// What it must have heard when what it says next has been answered.
    fn due(&self, idle: bool) -> Vec<usize> {
        if !idle {
            return Vec::new();
        }
        let (notices, now) = (self.world.notices.borrow(), self.world.now());
        self.hearing.misses(&notices, self.pool.database, now)
    }

    async fn cancel(&self) {
        let mut out = Vec::new();
        cancel_request(&mut out, self.process_id, &self.secret);
        self.standing().cancels.set(true);
        let stream = Stream::connect_unix(&self.world.folder.join("pool")).await;
        let Ok(stream) = stream else { return };
        let _nobody_listens = stream.write_all(&out).await;
        let mut buffer = self.world.buffers.take();
        let _closed = stream.read(&mut buffer).await;
    }

    async fn hear(&mut self, mut wanted: VecDeque<String>, sleeps: bool) -> Result<(), Over> {
        while let Some(next) = wanted.pop_front() {
            let (tag, body) = self.next().await?;
            let heard = words(tag, &body);
            if heard == next {
                continue;
            }
            let fatal = tag == BackendTag::ErrorResponse
                && Report::read(&body).is_ok_and(|report| report.is_fatal());
            if fatal {
                return Err(self.cut_off(&heard));
            }
            let world = &self.world;
            let may_be_cancelled =
                self.standing().cancels.get() || world.scenario.query_timeout.is_some();
            if sleeps && may_be_cancelled && heard == "E 57014" {
                // In place of everything but ReadyForQuery.
                wanted.drain(..wanted.len() - 1);
                continue;
            }
            let line = |text: &str| text.chars().take(80).collect::<String>();
            let (heard, next) = (line(&heard), line(&next));
            world.violated(format!("{} heard {heard}, not {next}", self.sender));
            return Err(Over::CutOff);
        }
        Ok(())
    }
}
