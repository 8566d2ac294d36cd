//! Dialogues between a client, the pool and a server, and what the ledger makes of each line.
//!
//! A dialogue is a list of words. Messages sent: `>` by the client, `~>` by the pool on the
//! client's behalf, `!>` by the pool for itself, `=>` by the client but answered by the pool.
//! Messages received: `<x` goes to the client, `<(x)` is swallowed, `<[x]` concerns the session,
//! `<x!` is a violation. `answer:x` and `void:x` are what comes due then, in order. `clean`,
//! `intx`, `busy` and `doubtful` are the condition at that point. Message types are the bytes on
//! the wire; `Ds` and `Dp` describe a statement and a portal, `ZI`, `ZT` and `ZE` carry a status.

use bs9_wire::ledger::{Condition, Ledger, Origin, Placed, Refused, Request, Settled, Verdict};
use bs9_wire::message::backend::TransactionStatus;
use bs9_wire::tag::{BackendTag, Tag as _};

struct Dialogue {
    ledger: Ledger,
    due: std::collections::VecDeque<String>,
    seen: String,
}

fn request(name: &str) -> Request {
    match name {
        "Q" => Request::Query,
        "F" => Request::FunctionCall,
        "P" => Request::Parse,
        "B" => Request::Bind,
        "Ds" => Request::DescribeStatement,
        "Dp" => Request::DescribePortal,
        "E" => Request::Execute,
        "C" => Request::Close,
        "S" => Request::Sync,
        "H" => Request::Flush,
        "d" => Request::CopyData,
        "c" | "f" => Request::CopyEnd,
        _ => panic!("no message is called {name}"),
    }
}

fn name(request: Request) -> &'static str {
    match request {
        Request::Query => "Q",
        Request::FunctionCall => "F",
        Request::Parse => "P",
        Request::Bind => "B",
        Request::DescribeStatement => "Ds",
        Request::DescribePortal => "Dp",
        Request::Execute => "E",
        Request::Close => "C",
        Request::Sync => "S",
        Request::Flush => "H",
        Request::CopyData => "d",
        Request::CopyEnd => "c",
    }
}

impl Dialogue {
    #[track_caller]
    fn run(words: &str) -> Ledger {
        let mut dialogue =
            Self { ledger: Ledger::new(16), due: Default::default(), seen: String::new() };
        for word in words.split_whitespace() {
            dialogue.seen.push_str(word);
            dialogue.seen.push(' ');
            dialogue.word(word);
        }
        dialogue.nothing_due();
        dialogue.ledger
    }

    #[track_caller]
    fn word(&mut self, word: &str) {
        if word.starts_with("answer:") || word.starts_with("void:") {
            assert_eq!(self.due.pop_front().as_deref(), Some(word), "{}", self.seen);
            return;
        }
        self.nothing_due();
        if let Some((from, what)) = word.split_once('>') {
            self.sent(from, what);
        } else if let Some(what) = word.strip_prefix('<') {
            self.received(what);
        } else {
            let condition = match word {
                "clean" => Condition::Clean,
                "intx" => Condition::InTransaction,
                "busy" => Condition::Busy,
                "doubtful" => Condition::Doubtful,
                _ => panic!("no such word: {word}"),
            };
            assert_eq!(self.ledger.condition(), condition, "{}", self.seen);
        }
        while let Some(settled) = self.ledger.settle() {
            self.due.push_back(match settled {
                Settled::Answer(entry) => format!("answer:{}", name(entry.request)),
                Settled::Skipped(entry) => format!("void:{}", name(entry.request)),
            });
        }
    }

    #[track_caller]
    fn nothing_due(&self) {
        assert!(self.due.is_empty(), "{} left {:?}", self.seen, self.due);
    }

    #[track_caller]
    fn sent(&mut self, from: &str, what: &str) {
        let (what, outcome) = what.split_once('=').unwrap_or((what, ""));
        let request = request(what);
        let placed = match from {
            "" => self.ledger.expect(request, Origin::Client, 0),
            "~" => self.ledger.expect(request, Origin::Behalf, 0),
            "!" => self.ledger.expect(request, Origin::Pool, 0),
            "=" => self.ledger.answer(request, 0),
            _ => panic!("nobody is called {from}"),
        };
        let expected = match outcome {
            "" if matches!(what, "H" | "d" | "c" | "f") => Ok(Placed::Silent),
            "" => Ok(Placed::Owed),
            "silent" => Ok(Placed::Silent),
            "skipped" => Ok(Placed::Skipped),
            "refused" => Err(Refused::DuringCopy { request }),
            _ => panic!("no such outcome: {outcome}"),
        };
        assert_eq!(placed, expected, "{}", self.seen);
    }

    #[track_caller]
    fn received(&mut self, what: &str) {
        let (what, expected) = if let Some(what) = what.strip_suffix('!') {
            (what, None)
        } else if let Some(what) = what.strip_prefix('(') {
            (what.trim_end_matches(')'), Some(Verdict::Swallow))
        } else if let Some(what) = what.strip_prefix('[') {
            (what.trim_end_matches(']'), Some(Verdict::Aside))
        } else {
            (what, Some(Verdict::Forward))
        };
        let observed = match what.as_bytes() {
            [b'Z', status] => {
                self.ledger.ready(TransactionStatus::read(&[*status]).expect("a status"))
            }
            [tag] => self.ledger.observe(BackendTag::from_byte(*tag).expect("a message type")),
            _ => panic!("no message is called {what}"),
        };
        let verdict = observed.ok().map(|observed| observed.verdict);
        assert_eq!(verdict, expected, "{}: {observed:?}", self.seen);
    }
}

/// Runs each line as a dialogue of its own.
#[track_caller]
fn each(dialogues: &[&str]) {
    for words in dialogues {
        Dialogue::run(words);
    }
}

#[test]
fn simple_queries() {
    each(&[
        "clean >Q busy <T <D <D <C busy <ZI clean",
        "clean >Q <I <ZI clean",
        "clean >Q <C <ZT intx >Q <C <ZI clean",
        // Several statements, with BEGIN and COMMIT among them: only the status is believed.
        "clean >Q <C <T <D <C <C <ZI clean",
        // One ReadyForQuery, whether it fails at once or half-way.
        "clean >Q <E busy <ZI clean",
        "clean >Q <T <D <C <E <ZE intx >Q <C <ZI clean",
        // Pipelined: the first ReadyForQuery is not the last.
        "clean >Q >Q >Q <C <ZI busy <E <ZI busy <T <C <ZI clean",
    ]);
}

#[test]
fn a_reply_that_cannot_be_is_a_violation() {
    each(&[
        "<ZI!",
        "<C!",
        "<1!",
        "<D!",
        "<T!",
        "<R!",
        "<K!",
        "<v!",
        "<d!",
        "<c!",
        "<G!",
        ">Q <ZI!",
        ">Q <1!",
        ">Q <2!",
        ">Q <n!",
        ">Q <s!",
        ">Q <t!",
        ">Q <V!",
        ">Q <R!",
        ">Q <d!",
        ">Q <E <C!",
        ">Q <E <D!",
        ">Q <T <ZI!",
        ">P <2!",
        ">P <ZI!",
        ">P <C!",
        ">B <1!",
        ">C <C!",
        ">C <2!",
        ">Ds <T!",
        ">Ds <n!",
        ">Ds <t <t!",
        ">Dp <t!",
        ">Dp <D!",
        ">E <T!",
        ">E <ZI!",
        ">E <n!",
        ">E <W!",
        ">S <C!",
        ">S <1!",
        ">S <D!",
        ">S <E <C!",
        ">F <C!",
        ">F <ZI!",
        ">F <V <V!",
        ">F <D!",
        ">P >S <1 <ZI <ZI!",
        ">Q <C <ZI <C!",
        // COPY that ends before it ended.
        ">Q <G <C!",
        ">Q <H <C!",
        ">Q <G <d!",
        ">Q <G <G!",
        ">Q <H <H!",
        ">Q <H <D!",
        ">Q <H <d <c <d!",
        ">Q <G >c <ZI!",
        ">Q <W <C!",
        ">Q <W <c <d!",
        ">E <G >c <s!",
    ]);
}

#[test]
fn extended_batches() {
    each(&[
        "clean >P >B >Dp >E >S <1 <2 <T <D <C busy <ZI clean",
        "clean >P >Ds >S <1 <t <T <ZI clean",
        "clean >P >Ds >S <1 <t <n <ZI clean",
        "clean >B >Dp >E >S <2 <n <C <ZI clean",
        "clean >B >E >S <2 <I <ZI clean",
        "clean >B >E >S <2 <D <s <ZT intx >E >S <D <C <ZT intx",
        "clean >C >S <3 <ZI clean",
        // An empty batch.
        "clean >S busy <ZI clean",
        // A failed commit: Sync itself gets the error.
        "clean >B >E >S <2 <C <E busy <ZI clean",
    ]);
}

#[test]
fn every_pipelined_sync_is_counted() {
    each(&[
        "clean >P >B >E >S >B >E >S >S <1 <2 <C <ZI busy <2 <C <ZI busy <ZI clean",
        "clean >S >S <ZI busy >S <ZI busy <ZI clean",
        "clean >B >E >S >Q <2 <C <ZI busy <C <ZI clean",
        "clean >Q >B >E >S <C <ZI busy <2 <C <ZI clean",
    ]);
}

#[test]
fn flush_makes_nothing_clean() {
    each(&[
        "clean >H clean",
        "clean >P >Ds >H <1 <t <n busy >S <ZI clean",
        "clean >P >H <1 busy >B >E >H <2 <C busy >S busy <ZI clean",
        // A batch without a Sync has a transaction open that nobody told of.
        "clean >B >E >S >B >E >H <2 <C <ZI <2 <C busy",
        // A Query ends the batch as a Sync would.
        "clean >B >E >Q <2 <C <C <ZI clean",
    ]);
}

#[test]
fn an_error_in_a_batch_skips_to_its_sync() {
    each(&[
        "clean >P >B >E >S <E void:B void:E busy <ZI clean",
        "clean >P >B >E >S <1 <E void:E <ZI clean",
        "clean >B >E >S <2 <T!",
        "clean >B >E >S <2 <D <E <ZI clean",
        "clean >Ds >S <t <E <ZI clean",
        // Only the first Sync ends it, the next batch is run.
        "clean >P >B >S >B >E >S <E void:B <ZI busy <2 <C <ZI clean",
        // What comes after the error, before the Sync.
        "clean >P <E busy >B=skipped >E=skipped busy >S busy <ZI clean",
        "clean >P >B <E void:B >E=skipped >H >S <ZI clean",
        // In a transaction block.
        "clean >Q <C <ZT >P >S <E <ZE intx >Q <C <ZI clean",
    ]);
}

#[test]
fn a_query_inside_a_failed_batch_is_never_answered() {
    each(&[
        "clean >P >Q >S <E void:Q busy <ZI clean",
        "clean >P >Q >Q >F >S >Q <E void:Q void:Q void:F <ZI busy <C <ZI clean",
        "clean >P <E >Q=skipped >F=skipped busy >S <ZI clean",
        "clean >P >Q <E void:Q <ZI!",
        // The batch before it is fine: then it is.
        "clean >P >Q >S <1 <C <ZI busy <ZI clean",
        // Its own error skips nothing.
        "clean >P >Q >B >S <1 <E <ZI <2 <ZI clean",
    ]);
}

#[test]
fn function_calls() {
    each(&[
        "clean >F <V busy <ZI clean",
        "clean >F <E <ZI clean",
        "clean >F >F <V <ZT busy <V <ZT intx",
    ]);
}

#[test]
fn news_of_the_session_comes_at_any_time() {
    each(&[
        "clean <[N] <[S] <[A] clean",
        "clean >Q <[S] <T <[A] <D <N <C <[S] <ZI <[N] clean",
        "clean >P >S <E <N <[S] <ZI clean",
        "clean >E <G <N <[S] >c <C",
        // A notice belongs to the statement that runs, and is swallowed with it.
        "clean !>Q <(N) <[S] <(C) <(ZI) clean",
    ]);
}

#[test]
fn copy_from_the_client() {
    each(&[
        "clean >Q <G busy >d >d busy >c busy <C <ZI clean",
        "clean >Q <G >d >f <E <ZI clean",
        "clean >B >E >H <2 <G >d >c >S <C <ZI clean",
        "clean >B >E >H <2 <G >d >f >S <E <ZI clean",
        // All of it sent before anything came back.
        "clean >Q >d >c >Q <G <C <ZI busy <C <ZI clean",
        "clean >B >E >d >c >S <2 <G <C <ZI clean",
        // Two in one query.
        "clean >Q >c >c <G <C <G <C <ZI clean",
        "clean >Q <G >c <C <G busy >c <C <ZI clean",
        "clean >Q >c <G <C <G >S=silent >c <C <ZI clean",
        // Not copying after all: data and its end mean nothing.
        "clean >Q >d >c <E <ZI clean",
        "clean >Q >d >c <C <ZI clean",
        "clean >c >f >d clean",
        "clean >P >c >E >c >S <1 <G <C <ZI clean",
    ]);
}

#[test]
fn syncs_inside_a_copy_are_not_answered() {
    each(&[
        // Sent behind the Execute by clients that pipeline.
        "clean >B >E >S <2 <G >d >c >S <C <ZI clean",
        "clean >B >E >S >d >c >S <2 <G <C <ZI clean",
        "clean >B >E >S <2 <G >S=silent >H >d >S=silent >c >S <C <ZI clean",
        "clean >Q >S <G >c <C <ZI clean",
        "clean >B >E >S <2 <G >c <C busy >S <ZI clean",
        "clean >B >E >S <2 <G >c <C <ZI!",
    ]);
}

#[test]
fn a_copy_that_fails_half_way() {
    each(&[
        "clean >Q <G >d <E >d >c busy <ZI clean",
        "clean >Q <G >d >c <E <ZI clean",
        "clean >B >E >H <2 <G >d <E >d >c busy >S <ZI clean",
        "clean >B >E >H <2 <G >d >c >S <E <ZI clean",
        // Late data behind ReadyForQuery, before the next query.
        "clean >Q <G >d <E <ZI clean >d >c clean >Q <C <ZI clean",
        "clean >Q >c >c <G <E <ZI clean",
    ]);
}

#[test]
fn syncs_inside_a_copy_that_fails_are_in_doubt() {
    each(&[
        // The server ignored the first Sync.
        "clean >B >E >S <2 <G >d <E >c >S <ZI doubtful",
        // The server failed before it read the first Sync: both are answered.
        "clean >B >E >S <2 <G >d <E >c >S <ZI doubtful <ZI clean <ZI!",
        "clean >B >E >S <2 <G >d <E <ZI >c >S <ZI clean <ZI!",
        "clean >Q >S <G >d <E <ZI doubtful <ZI clean",
    ]);
}

#[test]
fn whatever_is_answered_behind_a_sync_in_doubt_tells() {
    each(&[
        "clean >Q >S <G >d <E <ZI doubtful >Q <C <ZI clean <ZI!",
        "clean >Q >S <G >d <E <ZI doubtful >Q <E <ZI clean <ZI!",
        "clean >Q >S <G >d <E <ZI >Q <ZI busy <C <ZI clean",
        // The pool asks.
        "clean >B >E >S <2 <G >d <E >c >S <ZI doubtful !>Q <(I) <(ZI) clean <ZI!",
        "clean >B >E >S <2 <G >d <E >c >S <ZI doubtful !>Q <ZI busy <(I) <(ZI) clean <ZI!",
        "clean >Q >S >S <G >d <E <ZI doubtful !>Q <ZI >Q <(I) <(ZI) <C <ZI clean <ZI!",
        // What the client sent behind the COPY may have been acted on.
        "clean >B >E >S <2 <G >d >c >P >S <E void:P <ZI doubtful !>Q <(I) <(ZI) doubtful",
        "clean >B >E >S <2 <G >d >c >P >S <E void:P <ZI doubtful !>Q <1!",
        "clean >B >E >S <2 <G >d <E >P=skipped busy >S <ZI doubtful !>Q <(I) <(ZI) doubtful",
    ]);
}

#[test]
fn a_ledger_in_doubt_says_whether_asking_helps() {
    for (words, helps) in [
        (">Q >S <G >d <E", false),
        (">Q >S <G >d <E <ZI", true),
        (">Q >S <G >d <E <ZT", false),
        (">Q >S <G >d <E <ZI >P", false),
        (">Q >S <G >d <E <ZI !>Q", false),
        (">Q >S <G >d <E <ZI <[E]", false),
        ("<[E]", false),
        ("", false),
    ] {
        assert_eq!(Dialogue::run(words).is_to_be_asked(), helps, "{words}");
    }
}

#[test]
fn the_pool_sends_nothing_else_into_a_copy() {
    each(&[
        "clean >Q <G =>P=refused ~>P=refused !>Q=refused >c <C <ZI clean",
        ">Q >Q <W!",
        // Once its end is sent, anything goes.
        ">Q <G >c >Q >P >S <C <ZI <C <ZI <1 <ZI clean",
    ]);
}

#[test]
fn a_copy_into_which_something_else_was_sent_fails() {
    each(&[
        // The server says so, and hangs up.
        "clean >Q >Q <G <E busy <E busy <ZI!",
        "clean >Q >Q >c <G busy <E <E busy",
        "clean >Q >d >P >B >E >S <G <E <E busy <1!",
        "clean >E >P >S <G <E void:P <E busy",
        "clean >E >P <G <E void:P <[E] busy >S busy",
        // Whether what was sent is answered, nothing tells.
        "clean >Q >Q <G <E <ZI!",
        "clean >Q >S >Q <G <E <ZI!",
        "clean >Q =>P >S <G <E <ZI!",
        "clean >Q >Q >c <G <C!",
        "clean >Q >Q <G <ZI!",
        // In a batch it is skipped in either case.
        "clean >B >E >P >S <2 <G <E void:P busy <ZI clean",
        "clean >E =>P ~>P >B >Q >S >Q <G <E void:P void:P void:B void:Q <ZI <C <ZI clean",
        "clean >E >F >c >d >S <G <E void:F <ZI clean",
        "clean >E >P >c <G <C!",
        // Syncs before it are in doubt, those behind it are not.
        "clean >E >S >P >S <G <E void:P <ZI doubtful",
        "clean >E >S >P >S <G <E void:P <ZI doubtful <1!",
        "clean >E >P >S >S <G <E void:P <ZI busy <ZI clean <ZI!",
        // What is sent later is read behind it.
        "clean >E >P <G >d >c >B >S <E void:P void:B <ZI clean",
        "clean >Q >Q <G >P >c >S <E busy <ZI!",
        // What is sent although the data is awaited, the pool does not look into.
        "clean >Q <G >d >Q <E <E busy <ZI!",
        "clean >Q <G >Q >c <C!",
        "clean >Q <G >S=silent >P >S <E <ZI!",
        "clean >E <G >P >S <E void:P <E busy <ZI!",
        "clean >E <G >Q <E void:Q >P=skipped >S <ZI!",
        "clean >E >S <G >Q <E void:Q <ZI!",
    ]);
}

#[test]
fn copy_to_the_client() {
    each(&[
        "clean >Q <H <d <d <c <C <ZI clean",
        "clean >Q <H <c <C <T <D <C <ZI clean",
        "clean >Q <H <d <E <ZI clean",
        "clean >B >E >S <2 <H <d <c <C <ZI clean",
        "clean >B >E >S <2 <H <d <E <ZI clean",
        "clean >B >E >E >S <2 <H <d <E void:E <ZI clean",
    ]);
}

#[test]
fn streaming_replication() {
    each(&[
        "clean >Q <W <d >d <d >c busy <d <c <C <ZI clean",
        // The server ends it first: what follows are the rows that name the next timeline.
        "clean >Q <W <d <c >d >c <T <D <C <C <ZI clean",
        "clean >Q >c <W <c <C <ZI clean",
        "clean >Q <W <d <E <ZI clean",
    ]);
}

#[test]
fn replies_to_the_pool_stay_with_the_pool() {
    each(&[
        "clean !>Q <(T) <(D) <(C) <(ZI) clean",
        "clean !>Q <(E) <(ZI) clean",
        "clean !>Q >Q <(C) <(ZT) <T <D <C <ZT intx",
        "clean !>P !>S <(1) <(ZI) clean",
        "clean !>P !>S <(E) <(ZI) clean",
        // A Parse the server lacks, and a Close that makes room, ahead of the client's Bind.
        "clean ~>C ~>P >B >E >S <(3) <(1) <2 <C <ZI clean",
        // When it fails, that is the client's error: it gets no other.
        "clean ~>P >B >E >S <E void:B void:E <ZI clean",
        "clean >P >B ~>C >S <E void:B void:C <ZI clean",
    ]);
}

#[test]
fn the_pool_answers_in_its_turn() {
    each(&[
        "clean =>P answer:P clean",
        "clean =>P answer:P >B >E >S <2 <C <ZI clean",
        // Behind what is owed, before what follows.
        "clean >B =>P >Ds >S <2 answer:P <t <n <ZI clean",
        "clean >B =>P =>C >Ds >S <2 answer:P answer:C <t <n <ZI clean",
        "clean >B >S =>P >B >S <2 <ZI answer:P <2 <ZI clean",
        "clean >Q =>P <C <ZI answer:P clean",
        // Void when the batch has failed before it, given when it fails after.
        "clean >B =>P >E >S <E void:P void:E <ZI clean",
        "clean >B =>P >E >S <2 answer:P <E <ZI clean",
        "clean >B <E =>P=skipped >S =>P <ZI answer:P clean",
        "clean >B >S =>P >S <E <ZI answer:P <ZI clean",
        // News in between does not hurry it.
        "clean >B =>P >S <[S] <N <2 answer:P <ZI clean",
    ]);
}

#[test]
fn a_server_that_says_goodbye_is_not_used_again() {
    each(&[
        "clean <[E] doubtful",
        "clean >Q <C <ZT <[E] intx",
        // A second error before ReadyForQuery.
        "clean >Q <E <E busy <ZI doubtful",
        "clean >P <E <[E] busy",
    ]);
}

#[test]
fn what_may_be_pipelined_is_bounded() {
    let mut ledger = Ledger::new(3);
    for room in (1..=3).rev() {
        assert_eq!(ledger.room(), room);
        assert_eq!(ledger.expect(Request::Query, Origin::Client, 0), Ok(Placed::Owed));
    }
    assert_eq!((ledger.room(), ledger.len()), (0, 3));
    for request in [Request::Query, Request::Sync, Request::CopyEnd, Request::Parse] {
        let refused = ledger.expect(request, Origin::Client, 0);
        assert!(matches!(refused, Err(Refused::Full(full)) if full.limit == 3), "{refused:?}");
    }
    assert!(matches!(ledger.answer(Request::Parse, 0), Err(Refused::Full(_))));
    assert_eq!(ledger.expect(Request::Flush, Origin::Client, 0), Ok(Placed::Silent));
    ledger.observe(BackendTag::CommandComplete).unwrap();
    ledger.ready(TransactionStatus::Idle).unwrap();
    assert_eq!(ledger.room(), 1);
}

#[test]
fn what_closes_carries_its_token() {
    let mut ledger = Ledger::new(16);
    let owe = |ledger: &mut Ledger, request, token| {
        assert_eq!(ledger.expect(request, Origin::Client, token), Ok(Placed::Owed));
    };
    owe(&mut ledger, Request::Parse, 1);
    owe(&mut ledger, Request::Parse, 2);
    owe(&mut ledger, Request::Parse, 3);
    owe(&mut ledger, Request::Sync, 4);
    let closed = |observed: bs9_wire::ledger::Observed| observed.closed.map(|entry| entry.token);
    assert_eq!(ledger.observe(BackendTag::ParseComplete).map(closed), Ok(Some(1)));
    assert_eq!(ledger.observe(BackendTag::ErrorResponse).map(closed), Ok(Some(2)), "what failed");
    assert!(ledger.is_skipping());
    let skipped = ledger.settle().map(|settled| match settled {
        Settled::Skipped(entry) => entry.token,
        Settled::Answer(entry) => panic!("{entry:?} was never due"),
    });
    assert_eq!(skipped, Some(3));
    assert_eq!(ledger.settle(), None);
    assert_eq!(ledger.ready(TransactionStatus::Idle).map(closed), Ok(Some(4)));
    assert!(ledger.is_clean());
}

#[test]
fn a_ledger_starts_over_after_reset() {
    let mut ledger = Dialogue::run(">Q >S <G >d <E <ZT >P <E busy");
    ledger.reset();
    assert!(ledger.is_clean());
    assert_eq!((ledger.len(), ledger.status()), (0, TransactionStatus::Idle));
    assert!(!ledger.is_skipping());
}

#[test]
fn a_caller_that_does_not_settle_is_told() {
    let mut ledger = Ledger::new(4);
    assert_eq!(ledger.answer(Request::Parse, 0), Ok(Placed::Owed));
    assert_eq!(ledger.expect(Request::Sync, Origin::Client, 0), Ok(Placed::Owed));
    assert!(ledger.ready(TransactionStatus::Idle).is_err());
    assert!(ledger.settle().is_some());
    assert!(ledger.ready(TransactionStatus::Idle).is_ok());
}

#[test]
fn who_awaits_copy() {
    let ledger = Dialogue::run(">Q <G");
    assert!(ledger.awaits_copy());
    assert!(!Dialogue::run(">Q <G >c").awaits_copy());
    assert!(!Dialogue::run(">Q <H").awaits_copy());
    assert!(Dialogue::run(">Q <W <c").awaits_copy());
    assert!(!Dialogue::run(">Q <W >c").awaits_copy());
}
