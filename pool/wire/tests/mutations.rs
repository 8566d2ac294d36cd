//! Good input, damaged at random a few hundred thousand times, against what must hold for any
//! bytes. The fuzz targets check the same, without end; this runs in seconds, the same each time.

use bs9_wire::encode::{backend, frontend};
use bs9_wire::message::backend::TransactionStatus;
use bs9_wire::message::frontend::Target;
use bs9_wire::sqlstate::SqlState;
use bs9_wire::startup::{
    ProtocolVersion, StartupParameters, cancel_request, gss_request, ssl_request, startup_message,
};

#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

const INPUTS_EACH: u32 = 80_000;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Bytes that mean something somewhere.
const TELLING: &[u8] = b"\0\x01\x04\x05\x7f\x80\xffQPBDECSHdcfFXpRZTtns123IGWVKAN=,-\\ ";

fn damage(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            _ if bytes.is_empty() => bytes.push(TELLING[random.below(TELLING.len())]),
            0 => bytes[at] = TELLING[random.below(TELLING.len())],
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, TELLING[random.below(TELLING.len())]),
            4 => drop(bytes.drain(at..bytes.len().min(at + 1 + random.below(6)))),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let piece = bytes[at..bytes.len().min(at + 16)].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes.truncate(600);
}

/// Runs `check` over damaged seeds, each behind `head` random bytes.
fn survive(check: fn(&[u8]), head: usize, seeds: &[Vec<u8>]) {
    let mut random = Random(0x0b59);
    let mut input = Vec::new();
    let mut body = Vec::new();
    for round in 0..INPUTS_EACH {
        body.clone_from(&seeds[random.below(seeds.len())]);
        // The first round of each seed is the seed itself.
        if round as usize >= seeds.len() {
            damage(&mut body, seeds, &mut random);
        }
        input.clear();
        input.extend((0..head).map(|_| random.below(24) as u8));
        input.extend_from_slice(&body);
        check(&input);
    }
}

fn seeds(writers: &[fn(&mut Vec<u8>)]) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = writers
        .iter()
        .map(|write| {
            let mut out = Vec::new();
            write(&mut out);
            out
        })
        .collect();
    seeds.push(seeds.concat());
    seeds
}

#[test]
fn damaged_frontend_streams() {
    let seeds = seeds(&[
        |out| frontend::query(out, "select 1"),
        |out| {
            frontend::parse(out, b"s", b"select $1", b"\0\0\0\x17");
            frontend::bind_head(out, b"", b"s", 8);
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0]);
            frontend::describe(out, Target::Portal(b""));
            out.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
            frontend::close(out, Target::Statement(b"s"));
            frontend::sync(out);
        },
        |out| {
            out.extend_from_slice(b"d\0\0\0\x0brow\t1\r\nc\0\0\0\x04");
            frontend::copy_fail(out, "no more");
            frontend::flush(out);
        },
        |out| frontend::sasl_initial_response(out, "SCRAM-SHA-256", b"n,,n=,r=abc"),
        |out| frontend::sasl_response(out, b"n,,n=,r=c\nc=biws,r=cserver,p=AAAA"),
        |out| out.extend_from_slice(b"F\0\0\0\x0e\0\0\x03\xbb\0\0\0\0\0\0X\0\0\0\x04"),
    ]);
    survive(checks::frontend, 1, &seeds);
}

#[test]
fn damaged_backend_streams() {
    let seeds = seeds(&[
        |out| {
            backend::row_description(out, [("a", 23)].into_iter());
            backend::data_row(out, [Some("1")].into_iter());
            backend::command_complete(out, "SELECT 1");
            backend::ready_for_query(out, TransactionStatus::Idle);
        },
        |out| {
            backend::parse_complete(out);
            backend::bind_complete(out);
            backend::no_data(out);
            backend::close_complete(out);
            backend::ready_for_query(out, TransactionStatus::InTransaction);
        },
        |out| {
            let report = backend::ErrorReport::error(SqlState::INTERNAL_ERROR, "no").with_hint("h");
            backend::error_response(out, &report);
            backend::notice_response(out, &report);
            backend::ready_for_query(out, TransactionStatus::Failed);
        },
        |out| {
            backend::authentication_sasl(out, &["SCRAM-SHA-256"]);
            backend::authentication_sasl_continue(out, b"r=clients,s=c2FsdA==,i=1");
            backend::authentication_sasl_final(out, b"v=AAAA");
            backend::authentication_md5(out, [1, 2, 3, 4]);
            backend::authentication_ok(out);
            backend::parameter_status(out, b"TimeZone", b"UTC");
            backend::backend_key_data(out, 7, b"key!");
            let options = ["_pq_.a"].into_iter();
            backend::negotiate_protocol_version(out, ProtocolVersion::V3_0, options);
        },
        |out| out.extend_from_slice(b"G\0\0\0\x07\0\0\0C\0\0\0\x0bCOPY 1\0Z\0\0\0\x05I"),
        |out| out.extend_from_slice(b"H\0\0\0\x07\0\0\0d\0\0\0\x05xc\0\0\0\x04"),
        |out| out.extend_from_slice(b"A\0\0\0\x0b\0\0\0\x07c\0\0I\0\0\0\x04s\0\0\0\x04"),
        |out| out.extend_from_slice(b"V\0\0\0\x08\xff\xff\xff\xfft\0\0\0\x06\0\0"),
    ]);
    survive(checks::backend, 8, &seeds);
}

#[test]
fn damaged_openings() {
    let seeds = seeds(&[
        |out| {
            let session = StartupParameters { user: "alice", database: "app" };
            let settings = [
                ("application_name", "psql"),
                ("options", r"-c search_path=a\ b --x=y"),
                ("replication", "database"),
                ("_pq_.feature", "on"),
            ];
            startup_message(out, ProtocolVersion::V3_2, session, settings);
        },
        |out| cancel_request(out, 7, &[7; 32]),
        ssl_request,
        gss_request,
        |out| out.extend_from_slice(b"\x16\x03\x01\0\x05"),
        |out| out.extend_from_slice(b"-c search_path=a\\ b --x=y -cz=1"),
        |out| out.extend_from_slice(b"n,,n=,r=c\nc=biws,r=cserver,p=AAAA"),
        |out| out.extend_from_slice(b"r=clients,s=c2FsdA==,i=4096\nv=AAAA"),
        |out| {
            out.extend_from_slice(
                b"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                  WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                  wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
            );
        },
        |out| out.extend_from_slice(b"md50123456789abcdef0123456789abcdef"),
    ]);
    survive(checks::startup, 0, &seeds);
}
