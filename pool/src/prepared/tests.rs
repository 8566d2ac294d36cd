use std::sync::Arc;

use super::{
    ServerName,
    cache::Cache,
    names::Statements,
    statement::{Exhausted, StatementStore},
};

fn context(name: &str) -> Arc<[u8]> {
    name.as_bytes().into()
}

#[test]
fn names_are_numbers() {
    for (number, name) in [(0, "bs9_0"), (7, "bs9_7"), (4_294_967_295, "bs9_4294967295")] {
        assert_eq!(ServerName::new(number).as_bytes(), name.as_bytes());
    }
}

#[test]
fn a_text_is_kept_once_for_those_who_mean_the_same_by_it() {
    let store = StatementStore::new(100);
    let (one, other) = (context("one"), context("other"));
    let first = store.share(&one, b"text").unwrap();
    assert!(Arc::ptr_eq(&first, &store.share(&context("one"), b"text").unwrap()));
    let second = store.share(&other, b"text").unwrap();
    assert!(!Arc::ptr_eq(&first, &second), "read by other settings");
    assert_eq!((store.bytes(), store.shared()), (8, 2));
    first.mark_stale();
    let third = store.share(&one, b"text").unwrap();
    assert!(!Arc::ptr_eq(&first, &third), "its result has changed");
    drop(first);
    assert!(Arc::ptr_eq(&third, &store.share(&one, b"text").unwrap()));
    assert_eq!(store.share(&one, &[b'x'; 100]).err(), Some(Exhausted));
    let own = store.own(&one, b"text").unwrap();
    assert!(!Arc::ptr_eq(&third, &own));
    store.note_change_of_schema();
    let later = store.share(&one, b"text").unwrap();
    assert!(!Arc::ptr_eq(&third, &later), "what it names may be something else");
    assert!(Arc::ptr_eq(&later, &store.share(&one, b"text").unwrap()));
    drop(later);
    drop((second, third, own));
    assert_eq!((store.bytes(), store.shared()), (0, 0));
}

#[test]
fn names_count_towards_the_limit_and_are_given_back() {
    let store = StatementStore::new(1000);
    let statement = store.share(&context(""), b"text").unwrap();
    let mut known = Statements::new(&store);
    let mut count = 0;
    while known.insert(format!("{count}").as_bytes(), &statement).is_ok() {
        count += 1;
    }
    assert!((10..20).contains(&count), "{count}");
    assert!(known.remove(b"3").is_some() && known.remove(b"3").is_none());
    assert_eq!(known.insert(b"3", &statement), Ok(()));
    drop(known);
    assert_eq!(store.bytes(), 4);
}

#[test]
fn the_statement_used_longest_ago_goes_first() {
    let store = StatementStore::new(1000);
    let statements: Vec<_> = (0..4).map(|n| store.share(&context(""), &[n]).unwrap()).collect();
    let mut cache = Cache::default();
    for statement in &statements {
        let number = cache.number();
        cache.put(statement, number);
    }
    assert_eq!(cache.use_one(&statements[0]), Some(1));
    assert_eq!([cache.evict(), cache.evict()], [Some(2), Some(3)]);
    assert_eq!(cache.use_one(&statements[1]), None);
    assert!(cache.remove(4).is_some_and(|taken| Arc::ptr_eq(&taken, &statements[3])));
    assert_eq!((cache.evict(), cache.evict()), (Some(1), None));
    cache.put(&statements[0], 9);
    cache.put(&statements[0], 10);
    assert_eq!((cache.next_to_close(), cache.next_to_close()), (Some(9), None));
}
