//! Reading files of users: PgBouncer's `userlist.txt`, and `pg_ident.conf`.

use std::{collections::BTreeMap, sync::Arc};

use super::lines::{BadLine, Field, lines};
use crate::{
    model::{IdentMaps, IdentUser, Secret},
    sections::name::MAX_POSTGRES_NAME_BYTES,
};

/// Users of one file.
const MAX_USERS: usize = 1_000_000;

/// `"name" "password"` on each line; what follows is left alone, `;` begins a comment. An empty
/// password is none. The same name twice: the first counts.
pub(super) fn parse(text: &str) -> Result<BTreeMap<Arc<str>, Option<Secret>>, Vec<BadLine>> {
    let mut bad = Vec::new();
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        let number = index + 1;
        let read = quoted(line).and_then(|(name, rest)| Some((name, quoted(rest.trim_start())?.0)));
        match read {
            _ if users.len() >= MAX_USERS => {
                bad.push(BadLine::new(number, format!("more than {MAX_USERS} users")));
                break;
            }
            Some((name, _)) if name.is_empty() || name.contains('\0') => {
                bad.push(BadLine::new(number, "the user's name is empty, or has a NUL in it"));
            }
            Some((name, password)) => {
                let secret = (!password.is_empty()).then(|| Secret::new(password));
                // Whoever logs in by a name that is too long has it cut off, too.
                let end = name.floor_char_boundary(MAX_POSTGRES_NAME_BYTES);
                users.entry(name[..end].into()).or_insert(secret);
            }
            // The line may hold a password: it is not shown.
            None => bad.push(BadLine::new(number, "expected \"user\" \"password\", in quotes")),
        }
    }
    if bad.is_empty() { Ok(users) } else { Err(bad) }
}

/// A string in quotes, in which two stand for one; and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut found = String::new();
    loop {
        let (before, behind) = rest.split_once('"')?;
        found.push_str(before);
        match behind.strip_prefix('"') {
            Some(behind) => {
                found.push('"');
                rest = behind;
            }
            None => return Some((found, behind)),
        }
    }
}

/// `map certificate-name user` on each line.
pub(super) fn parse_ident(text: &str) -> Result<IdentMaps, Vec<BadLine>> {
    let mut bad = Vec::new();
    let mut maps: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
    for line in lines(text, &mut bad) {
        let [map, name, user] = line.fields.as_slice() else {
            let message = "expected a map, a certificate's name and a user";
            bad.push(BadLine::new(line.number, message));
            continue;
        };
        match ident(map, name, user) {
            Ok((map, name, user)) => maps.entry(map).or_default().push((name, user)),
            Err(message) => bad.push(BadLine::new(line.number, message)),
        }
    }
    bad.sort_by_key(|line| line.number);
    if bad.is_empty() { Ok(IdentMaps { maps }) } else { Err(bad) }
}

fn ident(
    map: &Field,
    name: &Field,
    user: &Field,
) -> Result<(Arc<str>, Arc<str>, IdentUser), String> {
    let ([map], [name], [user]) = (map.as_slice(), name.as_slice(), user.as_slice()) else {
        return Err("a list is not possible here".to_owned());
    };
    for item in [name, user] {
        if !item.quoted && item.text.starts_with(['/', '+']) {
            return Err(format!("`{}` is not supported: write the names", item.text));
        }
    }
    let as_user = match user.is("all") {
        true => IdentUser::Any,
        false => IdentUser::Is(user.text.as_str().into()),
    };
    Ok((map.text.as_str().into(), name.text.as_str().into(), as_user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_userlist_is_pairs_in_quotes() {
        let text = "; users\n\"alice\" \"secret\" and more\n  \"b\"\"ob\"\t\"pa\"\"ss\"\n\"none\" \"\"\n\"alice\" \"second\"\n";
        let users = parse(text).expect("users");
        let shown: Vec<_> = users
            .iter()
            .map(|(name, secret)| (&**name, secret.as_ref().map(|secret| secret.reveal())))
            .collect();
        assert_eq!(shown, [("alice", Some("secret")), ("b\"ob", Some("pa\"ss")), ("none", None)]);
        let long = parse(&format!("\"{}\" \"secret\"\n", "ä".repeat(40))).expect("a user");
        assert_eq!(long.keys().map(|name| name.len()).collect::<Vec<_>>(), [62]);
    }

    #[test]
    fn bad_lines_are_told_without_their_passwords() {
        let bad =
            parse("\"a\" \"b\"\nalice secret\n\"c\"\n\"\" \"x\"\n\"d\" \"open\n").expect_err("bad");
        assert_eq!(bad.iter().map(|line| line.number).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert!(bad.iter().all(|line| !line.message.contains("secret")));
    }

    #[test]
    fn maps_say_who_is_whom() {
        let maps =
            parse_ident("# m\noffice \"Alice Smith\" alice\noffice root all\n").expect("maps");
        assert!(maps.lets(Some("office"), "Alice Smith", "alice"));
        assert!(!maps.lets(Some("office"), "Alice Smith", "bob"));
        assert!(maps.lets(Some("office"), "root", "bob"));
        assert!(!maps.lets(Some("other"), "root", "bob"));
        assert!(maps.lets(None, "bob", "bob") && !maps.lets(None, "bob", "alice"));
        let bad = parse_ident("office a\noffice /re alice\n").expect_err("bad");
        assert_eq!(bad.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
    }
}
