//! One entry of `endpoints` in a TOML document, and its keys. Comments and layout stay.

use toml_edit::{Decor, InlineTable, Item, RawString, Table, Value};

/// One entry, as it is written.
pub(super) enum Entry<'d> {
    /// Of a list: an address, or a table on its line.
    Listed(&'d mut Value),
    /// `[[…endpoints]]`.
    Table(&'d mut Table),
}

impl Entry<'_> {
    /// Sets a key. What stands around an old value stays.
    pub(super) fn set(self, key: &str, value: Value) {
        match self {
            Self::Listed(Value::InlineTable(table)) => set_inline(table, key, value),
            Self::Listed(entry) => spell_out(entry, key, value),
            Self::Table(table) => match table.get_mut(key) {
                Some(Item::Value(old)) => replace(old, value),
                _ => drop(table.insert(key, Item::Value(value))),
            },
        }
    }

    /// Takes a key away, if it is there.
    pub(super) fn remove(self, key: &str) {
        match self {
            Self::Listed(Value::InlineTable(table)) => remove_inline(table, key),
            Self::Listed(_) => {}
            Self::Table(table) => remove_line(table, key),
        }
    }
}

fn replace(old: &mut Value, mut new: Value) {
    *new.decor_mut() = old.decor().clone();
    *old = new;
}

/// Makes a table of an entry that was an address alone.
fn spell_out(entry: &mut Value, key: &str, value: Value) {
    let Some(address) = entry.as_str().map(str::to_owned) else { return };
    let mut table = InlineTable::new();
    table.insert("address", Value::from(address));
    table.insert(key, value);
    replace(entry, Value::from(table));
}

fn set_inline(table: &mut InlineTable, key: &str, value: Value) {
    match table.get_mut(key) {
        Some(old) => replace(old, value),
        None => append(table, key, value),
    }
}

/// Puts a new key at the end, in the layout of the table.
fn append(table: &mut InlineTable, key: &str, mut value: Value) {
    let last = table.iter().last().map(|(name, value)| (name.to_owned(), suffix(value)));
    let Some((last, suffix)) = last else {
        table.insert(key, value);
        return;
    };
    // What stands between the last value and the brace: behind its comma, or behind
    // the value itself when it has none. A comment in it stays on its line.
    let after = if table.trailing_comma() { text(Some(table.trailing())) } else { suffix };
    let (kept, closing) = after.split_at(after.rfind('\n').unwrap_or(0));
    let before = text(table.key(&last).and_then(|last| last.leaf_decor().prefix()));
    let indent = match before.rfind('\n') {
        Some(at) => &before[at..],
        None if kept.trim().is_empty() => " ",
        None => "\n",
    };
    let prefix = format!("{}{indent}", kept.trim_end());
    if table.trailing_comma() {
        table.set_trailing(closing);
        *value.decor_mut() = Decor::new(" ", "");
    } else {
        if let Some(last) = table.get_mut(&last) {
            last.decor_mut().set_suffix("");
        }
        *value.decor_mut() = Decor::new(" ", closing);
    }
    table.insert(key, value);
    if let Some(mut key) = table.key_mut(key) {
        key.leaf_decor_mut().set_prefix(prefix);
    }
}

/// Takes a key out of a table that is a value.
fn remove_inline(table: &mut InlineTable, key: &str) {
    let Some(at) = table.iter().position(|(name, _)| name == key) else { return };
    let Some((key, value)) = table.remove_entry(key) else { return };
    let before = text(key.leaf_decor().prefix());
    if let Some((mut next, _)) = table.iter_mut().nth(at) {
        let after = text(next.leaf_decor().prefix());
        next.leaf_decor_mut().set_prefix(joined(&before, &after));
        return;
    }
    // It was the last one: next comes the brace.
    if table.trailing_comma() {
        let after = text(Some(table.trailing()));
        table.set_trailing(joined(&before, &after));
    } else if let Some((_, last)) = table.iter_mut().last() {
        let before = format!("{}{before}", suffix(last));
        last.decor_mut().set_suffix(joined(&before, &suffix(&value)));
    }
}

/// What stands between two things when the one between them is gone: of a line of its
/// own the comment behind it goes too, those above stay.
fn joined(before: &str, after: &str) -> String {
    let Some(line) = before.rfind('\n') else { return after.to_owned() };
    match after.find('\n') {
        Some(next) => format!("{}{}", &before[..line], &after[next..]),
        None => before.to_owned(),
    }
}

/// Takes the line of a key out of `[[…endpoints]]`; comments on the lines above stay.
fn remove_line(table: &mut Table, key: &str) {
    let Some(at) = table.iter().position(|(name, _)| name == key) else { return };
    let Some((key, _)) = table.remove_entry(key) else { return };
    let before = text(key.leaf_decor().prefix());
    if !before.contains('#') {
        return;
    }
    if let Some((mut next, _)) = table.iter_mut().nth(at) {
        let own = text(next.leaf_decor().prefix());
        next.leaf_decor_mut().set_prefix(format!("{before}{own}"));
        return;
    }
    if let Some((_, Item::Value(last))) = table.iter_mut().last() {
        let own = suffix(last);
        last.decor_mut().set_suffix(format!("{own}\n{}", before.trim_end()));
    }
}

fn suffix(value: &Value) -> String {
    text(value.decor().suffix())
}

fn text(raw: Option<&RawString>) -> String {
    raw.and_then(RawString::as_str).unwrap_or_default().to_owned()
}
