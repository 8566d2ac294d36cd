//! The system's users.

use std::io::{BufRead as _, BufReader, Read as _};

/// Most that is read of the list.
const MAX_BYTES: u64 = 16 << 20;

/// What the user of that number is called, by `/etc/passwd`. Reads a file: not on a shard.
pub(crate) fn account_name(number: u32) -> Option<String> {
    let file = std::fs::File::open("/etc/passwd").ok()?;
    let lines = BufReader::new(file.take(MAX_BYTES)).lines().map_while(Result::ok);
    name_in(lines, number)
}

fn name_in(lines: impl Iterator<Item = String>, number: u32) -> Option<String> {
    lines.into_iter().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let is = fields.nth(1)?.parse() == Ok(number) && !name.is_empty();
        is.then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let lines = || ["", "odd", "root:x:0:0:root:/root:/bin/sh", ":x:7:7::/:", "a:x:7:9::/:"];
        let lines = || lines().map(str::to_owned).into_iter();
        assert_eq!(name_in(lines(), 0).as_deref(), Some("root"));
        assert_eq!(name_in(lines(), 7).as_deref(), Some("a"));
        assert_eq!(name_in(lines(), 9), None);
        assert_eq!(account_name(0).as_deref(), Some("root"));
    }
}
