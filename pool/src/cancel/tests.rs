use bs9_net::PeerAddress;

use super::*;
use crate::pool;

fn directory(shard: usize) -> Rc<Directory> {
    Directory::new(shard, &BufferPool::new(64, 1))
}

fn register(directory: &Rc<Directory>, long_secret: bool) -> Registered {
    let card = ClientCard {
        user: "alice".into(),
        pool: pool::tests::pool(1, 1),
        peer: PeerAddress::Unix,
        connected: bs9_net::now(),
    };
    directory.register(long_secret, card)
}

#[test]
fn a_process_id_leads_back_to_its_shard_and_slot() {
    for shard in [0, 1, 63, SHARDS - 1] {
        let directory = directory(shard);
        let first = register(&directory, false);
        let second = register(&directory, true);
        assert!(first.process_id() > 0 && second.process_id() > 0);
        assert_ne!(first.process_id(), second.process_id());
        assert_eq!((first.secret().len(), second.secret().len()), (4, 32));
        let number = usize::try_from(second.process_id() - 1).unwrap();
        assert_eq!((number >> SLOT_BITS, number % SLOTS), (shard, 1));
    }
}

#[test]
fn a_slot_is_used_again_with_another_secret() {
    let directory = directory(0);
    let first = register(&directory, true);
    let (process_id, secret) = (first.process_id(), first.secret().to_vec());
    drop(first);
    let second = register(&directory, true);
    assert_eq!(second.process_id(), process_id);
    assert_ne!(second.secret(), secret);
}

#[test]
fn only_the_whole_secret_counts() {
    let directory = directory(0);
    let client = register(&directory, false);
    let secret = client.secret().to_vec();
    assert!(client.registration.knows(&secret));
    assert!(!client.registration.knows(&secret[..3]));
    assert!(!client.registration.knows(&[]));
    let mut longer = secret.clone();
    longer.push(0);
    assert!(!client.registration.knows(&longer));
    let mut wrong = secret;
    wrong[0] ^= 1;
    assert!(!client.registration.knows(&wrong));
}

#[test]
fn a_request_for_nobody_ends_at_once() {
    let directory = directory(0);
    let client = register(&directory, false);
    for (slot, secret) in [(0, client.secret().to_vec()), (0, vec![0; 9]), (77, vec![0; 4])] {
        let (done, mut wait) = oneshot::channel();
        directory.carry_out(CancelOrder { slot, secret: secret.into(), done });
        assert_eq!(wait.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
