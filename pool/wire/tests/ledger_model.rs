//! The ledger against a model of the server's own loop.
//!
//! The model reads messages one by one as `PostgresMain` does, answers by a script, and knows the
//! truth: whether a transaction is open and what it has not read yet. Messages travel at random
//! speed in both directions. Whatever happens, the ledger must never call the connection clean
//! when it is not, every reply must go to whom it belongs, in order, and when everything is in
//! the ledger must know.

use std::collections::VecDeque;

use bs9_wire::ledger::{Condition, Ledger, Origin, Request, Settled, Verdict};
use bs9_wire::message::backend::TransactionStatus as Status;
use bs9_wire::tag::BackendTag as Tag;
use proptest::prelude::*;

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Plan {
    Rows,
    Empty,
    Error,
    Suspended,
    CopyOut,
    CopyOutFails,
    CopyIn(Fate),
    Begin,
    Commit,
}

/// How a COPY FROM STDIN ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Fine,
    /// Before it reads anything.
    FailsAtOnce,
    /// At the first data.
    FailsAtData,
    /// When all is read.
    FailsAtEnd,
}

#[derive(Debug, Clone)]
struct Message {
    request: Request,
    origin: Origin,
    plans: Vec<Plan>,
    /// CopyFail, not CopyDone.
    gives_up: bool,
}

#[derive(Debug)]
struct Copying {
    fate: Fate,
    rest: VecDeque<Plan>,
    request: Request,
    origin: Origin,
}

/// A reply: `None` is ReadyForQuery.
type Reply = (Option<Tag>, Status);

#[derive(Debug)]
struct Server {
    /// `ignore_till_sync`.
    ignoring: bool,
    status: Status,
    /// An implicit transaction is open.
    implicit: bool,
    copy: Option<Copying>,
    out: VecDeque<Reply>,
    /// What the client should see in the end.
    visible: Vec<Reply>,
    /// A COPY FROM STDIN failed.
    copy_failed: bool,
    /// It hangs up when it reads something else in the middle of a COPY, as since PostgreSQL 14.
    strict: bool,
    hung_up: bool,
}

impl Server {
    fn new(strict: bool) -> Self {
        Self {
            strict,
            hung_up: false,
            ignoring: false,
            status: Status::Idle,
            implicit: false,
            copy: None,
            out: VecDeque::new(),
            visible: Vec::new(),
            copy_failed: false,
        }
    }

    fn send(&mut self, reply: Reply, origin: Origin) {
        let error = reply.0 == Some(Tag::ErrorResponse);
        if origin == Origin::Client || origin == Origin::Behalf && error {
            self.visible.push(reply);
        }
        self.out.push_back(reply);
    }

    fn say(&mut self, tag: Tag, origin: Origin) {
        self.send((Some(tag), Status::Idle), origin);
    }

    fn ready(&mut self, origin: Origin) {
        self.implicit = false;
        self.send((None, self.status), origin);
    }

    fn error(&mut self, request: Request, origin: Origin) {
        self.say(Tag::ErrorResponse, origin);
        if self.status == Status::InTransaction {
            self.status = Status::Failed;
        }
        self.implicit = false;
        if request.is_extended() {
            self.ignoring = true;
        } else {
            self.ready(origin);
        }
    }

    fn read(&mut self, message: Message) {
        let Message { request, origin, .. } = message;
        if self.hung_up {
            return;
        }
        if self.copy.is_some() {
            return self.read_copy(&message);
        }
        if request == Request::Sync {
            self.ignoring = false;
            if message.plans == [Plan::Error] && self.status == Status::Idle && self.implicit {
                return self.error(request, origin);
            }
            return self.ready(origin);
        }
        if self.ignoring || matches!(request, Request::CopyData | Request::CopyEnd | Request::Flush)
        {
            return;
        }
        if origin == Origin::Local {
            let tag =
                if request == Request::Parse { Tag::ParseComplete } else { Tag::CloseComplete };
            return self.visible.push((Some(tag), Status::Idle));
        }
        self.implicit |= request.is_extended();
        self.run(request, origin, message.plans.into());
    }

    fn read_copy(&mut self, message: &Message) {
        let Some(copy) = self.copy.as_mut() else { return };
        let (request, origin) = (copy.request, copy.origin);
        let fails = match message.request {
            // It was answered by the pool, or not at all.
            _ if message.origin == Origin::Local => return,
            Request::CopyData => copy.fate == Fate::FailsAtData,
            Request::CopyEnd => message.gives_up || copy.fate == Fate::FailsAtEnd,
            Request::Sync | Request::Flush => return,
            _ if self.strict => {
                self.hung_up = true;
                self.say(Tag::ErrorResponse, origin);
                // Whoever asked, it is the client's.
                return self.say(Tag::ErrorResponse, Origin::Client);
            }
            _ => true,
        };
        if fails {
            self.copy = None;
            self.copy_failed = true;
            self.error(request, origin);
        } else if message.request == Request::CopyEnd {
            let rest = std::mem::take(&mut copy.rest);
            self.copy = None;
            self.say(Tag::CommandComplete, origin);
            self.run_rest(request, origin, rest);
        }
    }

    fn run(&mut self, request: Request, origin: Origin, mut plans: VecDeque<Plan>) {
        let reply = match request {
            Request::Query => return self.run_rest(request, origin, plans),
            Request::Execute => {
                plans.truncate(1);
                return self.run_rest(request, origin, plans);
            }
            _ if plans.front() == Some(&Plan::Error) => return self.error(request, origin),
            Request::FunctionCall => {
                self.say(Tag::FunctionCallResponse, origin);
                return self.ready(origin);
            }
            Request::Parse => Tag::ParseComplete,
            Request::Bind => Tag::BindComplete,
            Request::Close => Tag::CloseComplete,
            Request::DescribeStatement => {
                self.say(Tag::ParameterDescription, origin);
                Tag::NoData
            }
            Request::DescribePortal => Tag::RowDescription,
            _ => return,
        };
        self.say(reply, origin);
    }

    fn run_rest(&mut self, request: Request, origin: Origin, mut plans: VecDeque<Plan>) {
        let simple = request == Request::Query;
        while let Some(plan) = plans.pop_front() {
            match plan {
                Plan::Error => return self.error(request, origin),
                Plan::Empty => self.say(Tag::EmptyQueryResponse, origin),
                Plan::Suspended if !simple => self.say(Tag::PortalSuspended, origin),
                Plan::Rows | Plan::Suspended => {
                    if simple {
                        self.say(Tag::RowDescription, origin);
                    }
                    self.say(Tag::DataRow, origin);
                    self.say(Tag::CommandComplete, origin);
                }
                Plan::CopyOut | Plan::CopyOutFails => {
                    self.say(Tag::CopyOutResponse, origin);
                    self.say(Tag::CopyData, origin);
                    if plan == Plan::CopyOutFails {
                        return self.error(request, origin);
                    }
                    self.say(Tag::CopyDone, origin);
                    self.say(Tag::CommandComplete, origin);
                }
                Plan::CopyIn(Fate::FailsAtOnce) => {
                    self.say(Tag::CopyInResponse, origin);
                    self.copy_failed = true;
                    return self.error(request, origin);
                }
                Plan::CopyIn(fate) => {
                    self.say(Tag::CopyInResponse, origin);
                    self.copy = Some(Copying { fate, rest: plans, request, origin });
                    return;
                }
                Plan::Begin | Plan::Commit => {
                    let begins = plan == Plan::Begin;
                    self.status = if begins { Status::InTransaction } else { Status::Idle };
                    self.implicit = false;
                    self.say(Tag::CommandComplete, origin);
                }
            }
        }
        if simple {
            self.ready(origin);
        }
    }

    /// Whether it does nothing, has said everything and holds nothing open.
    fn is_at_rest(&self) -> bool {
        !self.hung_up
            && !self.ignoring
            && !self.implicit
            && self.status == Status::Idle
            && self.copy.is_none()
            && self.out.is_empty()
    }
}

// === what is sent ===

fn plan() -> impl Strategy<Value = Plan> {
    prop_oneof![
        6 => Just(Plan::Rows),
        1 => Just(Plan::Empty),
        2 => Just(Plan::Error),
        1 => Just(Plan::Suspended),
        1 => Just(Plan::CopyOut),
        1 => Just(Plan::CopyOutFails),
        1 => Just(Plan::Begin),
        1 => Just(Plan::Commit),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        3 => Just(Fate::Fine),
        1 => Just(Fate::FailsAtOnce),
        1 => Just(Fate::FailsAtData),
        1 => Just(Fate::FailsAtEnd),
    ]
}

fn message(request: Request, origin: Origin, plans: Vec<Plan>) -> Message {
    Message { request, origin, plans, gives_up: false }
}

fn ordinary() -> impl Strategy<Value = Vec<Message>> {
    let request = prop::sample::select(vec![
        Request::Query,
        Request::Query,
        Request::FunctionCall,
        Request::Parse,
        Request::Bind,
        Request::DescribeStatement,
        Request::DescribePortal,
        Request::Execute,
        Request::Execute,
        Request::Close,
        Request::Sync,
        Request::Sync,
        Request::Sync,
        Request::Flush,
        Request::CopyData,
        Request::CopyEnd,
    ]);
    (request, 0..8u8, prop::collection::vec(plan(), 1..4)).prop_map(|(request, from, plans)| {
        let origin = match (from, request) {
            (0, Request::Parse | Request::Close) => Origin::Behalf,
            (1 | 2, Request::Parse | Request::Close) => Origin::Local,
            (0, Request::Query) => Origin::Pool,
            _ => Origin::Client,
        };
        vec![message(request, origin, plans)]
    })
}

/// A COPY FROM STDIN: the message that starts it, and all up to its end. In the middle there are
/// Syncs, and strays that make it fail.
fn copy(syncs: bool, strays: bool) -> impl Strategy<Value = Vec<Message>> {
    let legal = prop::sample::select(vec![
        Request::CopyData,
        Request::CopyData,
        Request::Flush,
        if syncs { Request::Sync } else { Request::CopyData },
    ]);
    let legal = legal.prop_map(|request| vec![message(request, Origin::Client, vec![])]);
    let stray = ordinary().prop_filter("a Sync is none", |messages| {
        messages.iter().all(|message| message.request != Request::Sync)
    });
    let sent = (legal, stray, 0..3u8)
        .prop_map(move |(legal, stray, which)| if strays && which == 0 { stray } else { legal });
    let during = prop::collection::vec(sent, 0..4);
    let starts = prop::sample::select(vec![Request::Query, Request::Execute]);
    (starts, fate(), during, any::<bool>(), any::<bool>()).prop_map(
        |(starts, fate, during, gives_up, behind)| {
            let mut plans = vec![Plan::CopyIn(fate)];
            if behind {
                plans.push(Plan::Rows);
            }
            let mut messages = vec![message(starts, Origin::Client, plans)];
            messages.extend(during.concat());
            messages
                .push(Message { gives_up, ..message(Request::CopyEnd, Origin::Client, vec![]) });
            messages
        },
    )
}

fn dialogue(syncs: bool, strays: bool) -> impl Strategy<Value = Vec<Message>> {
    let part = prop_oneof![8 => ordinary().boxed(), 1 => copy(syncs, strays).boxed()];
    prop::collection::vec(part, 1..24).prop_map(|parts| parts.concat())
}

// === the run ===

struct Run {
    ledger: Ledger,
    server: Server,
    under_way: VecDeque<Message>,
    seen: Vec<Reply>,
}

/// The ledger declared the connection out of step, or refused a message that may be sent.
#[derive(Debug)]
struct Broken;

impl Run {
    fn send(&mut self, message: Message) -> Result<(), Broken> {
        let Message { request, origin, .. } = message;
        let placed = if origin == Origin::Local {
            self.ledger.answer(request, 0)
        } else {
            self.ledger.expect(request, origin, 0)
        };
        let _ = placed.map_err(|_| Broken)?;
        self.under_way.push_back(message);
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        while let Some(settled) = self.ledger.settle() {
            let Settled::Answer(entry) = settled else { continue };
            let parse = entry.request == Request::Parse;
            let tag = if parse { Tag::ParseComplete } else { Tag::CloseComplete };
            self.seen.push((Some(tag), Status::Idle));
        }
    }

    fn receive(&mut self) -> Result<(), Broken> {
        let Some(reply) = self.server.out.pop_front() else { return Ok(()) };
        let observed = match reply {
            (Some(tag), _) => self.ledger.observe(tag),
            (None, status) => self.ledger.ready(status),
        };
        match observed.map_err(|_| Broken)?.verdict {
            Verdict::Forward | Verdict::Aside => self.seen.push(reply),
            Verdict::Swallow => {}
        }
        self.settle();
        Ok(())
    }

    /// Clean must be true.
    fn check(&self) {
        if self.ledger.is_clean() {
            assert!(self.server.is_at_rest(), "called clean: {:?}", self.server);
            // Late COPY data may still be under way, which the server will ignore, and what the
            // pool has answered is only here to tell its place.
            assert!(
                self.under_way.iter().all(|message| message.origin == Origin::Local
                    || matches!(
                        message.request,
                        Request::CopyData | Request::CopyEnd | Request::Flush
                    )),
                "called clean with {:?} under way",
                self.under_way
            );
        }
    }

    /// Something that tells of Syncs in doubt.
    fn ask(&mut self) -> Result<(), Broken> {
        if self.ledger.is_to_be_asked() {
            self.send(message(Request::Query, Origin::Pool, vec![Plan::Empty]))?;
        }
        Ok(())
    }

    fn step(&mut self, next: &mut VecDeque<Message>, pace: u8) -> Result<(), Broken> {
        match pace % 4 {
            0 => {
                if let Some(message) = next.pop_front() {
                    self.send(message)?;
                }
            }
            1 => {
                if let Some(message) = self.under_way.pop_front() {
                    self.server.read(message);
                }
            }
            2 => self.receive()?,
            _ => self.ask()?,
        }
        self.check();
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Broken> {
        while let Some(message) = self.under_way.pop_front() {
            self.server.read(message);
        }
        while !self.server.out.is_empty() {
            self.receive()?;
            self.check();
        }
        Ok(())
    }
}

fn run(messages: Vec<Message>, pace: &[u8], strict: bool) -> (Run, Result<(), Broken>) {
    let mut run = Run {
        ledger: Ledger::new(1024),
        server: Server::new(strict),
        under_way: VecDeque::new(),
        seen: Vec::new(),
    };
    let mut next: VecDeque<_> = messages.into();
    let mut pace = pace.iter().copied().cycle();
    let outcome = (|| {
        while !next.is_empty() {
            run.step(&mut next, pace.next().unwrap_or(0))?;
        }
        run.send(message(Request::Sync, Origin::Client, vec![]))?;
        run.drain()?;
        run.ask()?;
        run.drain()
    })();
    (run, outcome)
}

/// At random speed, all steps among them.
fn pace() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..64).prop_map(|mut pace| {
        pace.extend([0, 1, 2, 3]);
        pace
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_ledger_knows_what_the_server_knows(messages in dialogue(false, false), pace in pace()) {
        let (run, outcome) = run(messages, &pace, true);
        prop_assert!(outcome.is_ok(), "nothing was out of step: {:?}", run.ledger);
        prop_assert_eq!(&run.seen, &run.server.visible);
        let expected = match run.server.status {
            Status::Idle => Condition::Clean,
            _ => Condition::InTransaction,
        };
        prop_assert_eq!(run.ledger.condition(), expected);
        prop_assert_eq!(run.ledger.status(), run.server.status);
    }

    #[test]
    fn what_is_in_doubt_is_not_called_clean(messages in dialogue(true, false), pace in pace()) {
        let (run, outcome) = run(messages, &pace, true);
        // Every step has checked that. Out of step is allowed only where there was doubt.
        if !run.server.copy_failed {
            prop_assert!(outcome.is_ok(), "there was no doubt: {:?}", run.ledger);
            prop_assert_eq!(&run.seen, &run.server.visible);
        }
        if outcome.is_ok() && run.server.status == Status::Idle {
            prop_assert_ne!(run.ledger.condition(), Condition::InTransaction);
            prop_assert!(!run.ledger.is_to_be_asked(), "it was");
        }
        // What the pool answers may have come between replies that were in doubt.
        if outcome.is_ok() && run.ledger.is_clean() {
            prop_assert_eq!(run.seen.len(), run.server.visible.len());
        }
    }

    #[test]
    fn what_strays_into_a_copy_leads_nobody_astray(
        messages in dialogue(false, true),
        pace in pace(),
        strict: bool,
    ) {
        let (mut run, outcome) = run(messages, &pace, strict);
        for message in std::mem::take(&mut run.under_way) {
            run.server.read(message);
        }
        prop_assert!(run.server.visible.starts_with(&run.seen), "{:?}", run.seen);
        if outcome.is_ok() {
            prop_assert_eq!(&run.seen, &run.server.visible);
            prop_assert_eq!(run.ledger.is_clean(), run.server.is_at_rest());
        }
    }

    #[test]
    fn strays_among_syncs_are_not_called_clean(
        messages in dialogue(true, true),
        pace in pace(),
        strict: bool,
    ) {
        // Every step checks that.
        let (run, outcome) = run(messages, &pace, strict);
        if outcome.is_ok() && run.server.hung_up {
            prop_assert!(!run.ledger.is_clean());
        }
    }
}
