use super::*;

/// The exchange of RFC 7677 section 3.
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn nonce(text: &str) -> Nonce {
    Nonce::from_text(text).unwrap()
}

fn challenge(server_first: &str) -> Result<Challenge, ScramError> {
    let first = ClientFirst::naming("user", nonce(CLIENT_NONCE), Binding::None);
    first.challenge(server_first.as_bytes(), DEFAULT_MAX_ITERATIONS)
}

fn exchange() -> Exchange {
    Exchange::new(ScramVerifier::parse(VERIFIER).unwrap(), nonce(SERVER_NONCE))
}

fn client_final(message: &str) -> Result<Proof, ScramError> {
    exchange().client_first(CLIENT_FIRST.as_bytes()).unwrap().client_final(message.as_bytes())
}

#[test]
fn the_client_says_what_the_rfc_says() {
    let first = ClientFirst::naming("user", nonce(CLIENT_NONCE), Binding::None);
    assert_eq!(first.message(), CLIENT_FIRST.as_bytes());
    let challenge = challenge(SERVER_FIRST).unwrap();
    assert_eq!(challenge.iterations(), 4096);
    let keys = challenge.derive(b"pencil");
    let outcome = challenge.answer(&keys);
    assert_eq!(outcome.message(), CLIENT_FINAL.as_bytes());
    assert_eq!(outcome.verify(SERVER_FINAL.as_bytes()), Ok(()));
}

#[test]
fn the_server_says_what_the_rfc_says() {
    let check = exchange().client_first(CLIENT_FIRST.as_bytes()).unwrap();
    assert_eq!(check.message(), SERVER_FIRST.as_bytes());
    let proof = check.client_final(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(proof.message(), SERVER_FINAL.as_bytes());
}

#[test]
fn a_verifier_is_what_postgresql_stores() {
    let verifier = ScramVerifier::parse(VERIFIER).unwrap();
    let salt = b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";
    assert_eq!(verifier, ScramVerifier::from_password(b"pencil", salt, 4096));
    assert_eq!(verifier.to_text(), VERIFIER);
    assert!(verifier.matches(b"pencil"));
    assert!(!verifier.matches(b"pen"));
    let generated = ScramVerifier::generate(b"pencil");
    assert_eq!(ScramVerifier::parse(&generated.to_text()), Some(generated.clone()));
    assert!(generated != verifier, "the salt is random");
}

#[test]
fn verifiers_that_are_none() {
    for (from, to) in [
        ("SCRAM-SHA-256$", "SCRAM-SHA-1$"),
        ("4096", "0"),
        ("4096", "-1"),
        ("4096", "+1"),
        ("4096", "99999999999"),
        ("4096", ""),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22"),
        ("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "WG5d"),
        (":wfPL", "$wfPL"),
        ("2dU=", "2dU=:"),
    ] {
        assert!(VERIFIER.contains(from));
        let text = VERIFIER.replacen(from, to, 1);
        assert_eq!(ScramVerifier::parse(&text), None, "{text}");
    }
}

/// A login at the pool, with the keys it leaves.
fn login(verifier: ScramVerifier, password: &[u8]) -> Result<Passthrough, ScramError> {
    let first = ClientFirst::new(Nonce::random());
    let check = Exchange::new(verifier, Nonce::random()).client_first(first.message())?;
    let challenge = first.challenge(check.message(), DEFAULT_MAX_ITERATIONS)?;
    let keys = challenge.derive(password);
    let outcome = challenge.answer(&keys);
    let proof = check.client_final(outcome.message())?;
    outcome.verify(proof.message())?;
    Ok(proof.into_passthrough())
}

#[test]
fn both_sides_agree_for_any_password() {
    for password in [&b"pencil"[..], b"", "p\u{e4}ss \u{2168}".as_bytes(), b"\xff\xfe", b"a,b=c"] {
        let verifier = ScramVerifier::from_password(password, b"salt", 2);
        assert!(login(verifier.clone(), password).is_ok(), "{password:?}");
        let wrong = [password, b"!"].concat();
        assert_eq!(login(verifier, &wrong).err(), Some(ScramError::WrongProof));
    }
}

#[test]
fn a_client_s_keys_log_in_where_the_verifier_is_the_same_and_nowhere_else() {
    let verifier = ScramVerifier::from_password(b"pencil", b"salt", 2);
    let client = login(verifier.clone(), b"pencil").unwrap();

    let at_server = |verifier: ScramVerifier| {
        let first = ClientFirst::new(Nonce::random());
        let check = Exchange::new(verifier, Nonce::random()).client_first(first.message())?;
        let challenge = first.challenge(check.message(), DEFAULT_MAX_ITERATIONS)?;
        let keys = challenge.accept(&client)?.clone();
        let outcome = challenge.answer(&keys);
        let proof = check.client_final(outcome.message())?;
        outcome.verify(proof.message())
    };
    assert_eq!(at_server(verifier), Ok(()));
    for foreign in [
        ScramVerifier::from_password(b"pencil", b"pepper", 2),
        ScramVerifier::from_password(b"pencil", b"salt", 3),
    ] {
        assert_eq!(at_server(foreign), Err(ScramError::ForeignVerifier));
    }
    let other_password = ScramVerifier::from_password(b"brush", b"salt", 2);
    assert_eq!(at_server(other_password), Err(ScramError::WrongProof));
}

#[test]
fn a_user_that_does_not_exist_looks_like_any_other() {
    let mock = |user: &str| ScramVerifier::mock(user, &[7; 32], 4096);
    assert_eq!(mock("eve"), mock("eve"), "from login to login");
    assert_ne!(mock("eve").to_text(), mock("bob").to_text());
    assert_ne!(mock("eve"), ScramVerifier::mock("eve", &[8; 32], 4096));
    assert!(!mock("eve").matches(b""));

    let check = Exchange::new(mock("eve"), nonce(SERVER_NONCE));
    let check = check.client_first(CLIENT_FIRST.as_bytes()).unwrap();
    assert_eq!(check.message().len(), SERVER_FIRST.len());
    let outcome = check.client_final(CLIENT_FINAL.as_bytes());
    assert_eq!(outcome.err(), Some(ScramError::WrongProof));
}

#[test]
fn client_first_messages_that_are_refused() {
    let malformed = |expected| ScramError::Malformed { expected };
    let table: &[(&str, ScramError)] = &[
        ("", malformed("channel binding flag")),
        ("x,,n=,r=a", malformed("channel binding flag")),
        ("p=tls-server-end-point,,n=,r=a", ScramError::ChannelBinding),
        ("p", ScramError::ChannelBinding),
        ("n", malformed("comma behind the flag")),
        ("nn,,n=,r=a", malformed("comma behind the flag")),
        ("n,a=root,n=,r=a", ScramError::AuthorizationIdentity),
        ("n,x,n=,r=a", malformed("GS2 header")),
        ("n,,m=ext,n=,r=a", ScramError::Extension),
        ("n,,r=a", malformed("user name")),
        ("n,,n=", malformed("nonce")),
        ("n,,n=,r=", malformed("printable nonce")),
        ("n,,n=,r=a b", malformed("printable nonce")),
        ("n,,n=,r=\u{e4}", malformed("printable nonce")),
        ("n,,n=,r=a\0b", malformed("UTF-8 text")),
    ];
    for (message, error) in table {
        let found = exchange().client_first(message.as_bytes()).err();
        assert_eq!(found, Some(*error), "{message:?}");
    }
    let long = format!("n,,n=,r={}", "a".repeat(MAX_MESSAGE_LEN));
    let error = ScramError::TooLong { len: long.len() };
    assert_eq!(exchange().client_first(long.as_bytes()).err(), Some(error));
    assert!(exchange().client_first(b"n,,n=\xff,r=a").is_err());
}

#[test]
fn a_client_that_could_bind_the_channel_may_go_without() {
    let check = exchange().client_first(b"y,,n=,r=abc").unwrap();
    let server_first = str::from_utf8(check.message()).unwrap();
    let combined = &server_first[2..server_first.find(',').unwrap()];
    let proof = "A".repeat(43) + "=";
    // It announced `y,,`, so `n,,` in the final message is someone else's edit.
    let edited = format!("c=biws,r={combined},p={proof}");
    let outcome = check.clone().client_final(edited.as_bytes());
    assert_eq!(outcome.err(), Some(ScramError::ChannelBindingMismatch));
    let honest = format!("c=eSws,r={combined},p={proof}");
    let outcome = check.client_final(honest.as_bytes());
    assert_eq!(outcome.err(), Some(ScramError::WrongProof), "that far it was right");
}

#[test]
fn client_final_messages_that_are_refused() {
    let malformed = |expected| ScramError::Malformed { expected };
    let table: &[(&str, &str, ScramError)] = &[
        ("c=biws", "c=eSws", ScramError::ChannelBindingMismatch),
        ("c=biws", "c=cD10bHM", ScramError::ChannelBindingMismatch),
        ("c=biws,", "", malformed("channel binding")),
        ("$k0", "$k1", ScramError::NonceMismatch),
        ("rOpr", "rOps", ScramError::NonceMismatch),
        (",p=", ",q=", malformed("proof")),
        ("dHzb", "eHzb", ScramError::WrongProof),
        ("dHzb", "dHz", malformed("proof in base64")),
        ("dHzb", "dHz!", malformed("proof in base64")),
        ("dHzb", "", malformed("proof in base64")),
        (",p=", ",x=ext,p=", ScramError::WrongProof),
    ];
    for (from, to, error) in table {
        let message = CLIENT_FINAL.replacen(from, to, 1);
        assert_eq!(client_final(&message).err(), Some(*error), "{message}");
    }
    assert!(client_final("").is_err());
    assert!(client_final("p=").is_err());
}

#[test]
fn server_first_messages_that_are_refused() {
    let malformed = |expected| ScramError::Malformed { expected };
    let max = DEFAULT_MAX_ITERATIONS;
    let table: &[(&str, &str, ScramError)] = &[
        ("r=rOpr", "r=xOpr", ScramError::NonceMismatch),
        ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "", ScramError::NonceMismatch),
        ("r=", "m=ext,r=", ScramError::Extension),
        ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=", malformed("salt")),
        ("gQ==", "g", malformed("salt in base64")),
        (",i=4096", "", malformed("iteration count")),
        ("4096", "", malformed("iteration count")),
        ("4096", "-1", malformed("iteration count")),
        ("4096", "0x10", malformed("iteration count")),
        ("4096", "0", ScramError::Iterations { asked: 0, max }),
        ("4096", "100001", ScramError::Iterations { asked: 100_001, max }),
        ("4096", "4294967296", ScramError::Iterations { asked: 1 << 32, max }),
        ("4096", "99999999999999999999999", ScramError::Iterations { asked: u64::MAX, max }),
    ];
    for (from, to, error) in table {
        let message = SERVER_FIRST.replacen(from, to, 1);
        assert_eq!(challenge(&message).err(), Some(*error), "{message}");
    }
    let at_cap = SERVER_FIRST.replace("4096", "100000");
    assert_eq!(challenge(&at_cap).unwrap().iterations(), 100_000);
    let extended = format!("{SERVER_FIRST},x=later");
    assert!(challenge(&extended).is_ok(), "optional extensions are let be");
}

#[test]
fn server_final_messages_that_are_refused() {
    let challenge = challenge(SERVER_FIRST).unwrap();
    let keys = challenge.derive(b"pencil");
    let outcome = challenge.answer(&keys);
    for (message, error) in [
        ("e=invalid-proof", ScramError::RefusedByServer),
        ("", ScramError::Malformed { expected: "server signature" }),
        ("v=", ScramError::Malformed { expected: "server signature in base64" }),
        ("v=AAAA", ScramError::Malformed { expected: "server signature in base64" }),
        (&SERVER_FINAL.replace("6rri", "7rri"), ScramError::WrongServerSignature),
    ] {
        assert_eq!(outcome.clone().verify(message.as_bytes()), Err(error), "{message}");
    }
}

#[test]
fn nonces_are_fresh_and_printable() {
    let (one, other) = (Nonce::random(), Nonce::random());
    assert_ne!(one, other);
    assert_eq!(Nonce::from_text(one.as_str()), Some(one));
    for bad in ["", "a,b", "a b", "\u{e4}"] {
        assert_eq!(Nonce::from_text(bad), None);
    }
}

#[test]
fn secrets_do_not_print() {
    let client = login(ScramVerifier::from_password(b"pencil", b"salt", 1), b"pencil").unwrap();
    let shown = format!("{client:?}");
    assert!(shown.contains("ClientKey(…)") && shown.contains("ServerKey(…)"), "{shown}");
    let verifier = format!("{:?}", ScramVerifier::parse(VERIFIER).unwrap());
    assert!(!verifier.contains("WG5d") && verifier.contains('…'), "{verifier}");
}

// === Channel binding ===

fn hash(byte: u8) -> Binding {
    Binding::EndPoint(vec![byte; 32].into())
}

/// A whole exchange between both sides, each of which binds as told.
fn meet(client: Binding, server: Binding) -> Result<(), ScramError> {
    let verifier = ScramVerifier::from_password(b"pencil", b"0123456789abcdef", 2);
    let first = ClientFirst::bound(Nonce::random(), client);
    let exchange = Exchange::new(verifier, Nonce::random()).bound(server);
    let check = exchange.client_first(first.message())?;
    let challenge = first.challenge(check.message(), DEFAULT_MAX_ITERATIONS)?;
    let keys = challenge.derive(b"pencil");
    let outcome = challenge.answer(&keys);
    let proof = check.client_final(outcome.message())?;
    outcome.verify(proof.message())
}

#[test]
fn both_sides_must_be_bound_to_the_same_connection() {
    assert_eq!(meet(hash(1), hash(1)), Ok(()));
    assert_eq!(meet(hash(1), hash(2)), Err(ScramError::ChannelBindingMismatch));
    assert_eq!(meet(hash(1), Binding::None), Err(ScramError::ChannelBinding));
    assert_eq!(meet(hash(1), Binding::Unused), Err(ScramError::ChannelBinding));
    for unbound in [Binding::None, Binding::Unused] {
        assert_eq!(meet(unbound, hash(1)), Err(ScramError::UnboundPlus));
    }
}

#[test]
fn an_offer_that_was_taken_out_on_its_way_is_noticed() {
    assert_eq!(meet(Binding::Unused, Binding::Unused), Err(ScramError::Downgraded));
    assert_eq!(meet(Binding::Unused, Binding::None), Ok(()));
    assert_eq!(meet(Binding::None, Binding::Unused), Ok(()));
}

#[test]
fn other_flags_are_refused() {
    let first = |text: &str, binding: Binding| {
        exchange().bound(binding).client_first(text.as_bytes()).map(|_| ())
    };
    let unique = "p=tls-unique,,n=,r=abc";
    assert_eq!(first(unique, hash(1)), Err(ScramError::BindingType));
    assert_eq!(
        first("p,,n=,r=abc", hash(1)),
        Err(ScramError::Malformed { expected: "channel binding type" })
    );
    assert_eq!(
        first("p=tls-server-end-point", hash(1)),
        Err(ScramError::Malformed { expected: "comma behind the flag" })
    );
}
