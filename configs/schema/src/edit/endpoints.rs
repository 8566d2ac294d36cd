//! `endpoints` of a cluster in a TOML document: a list, or `[[…endpoints]]` tables.

use std::path::Path;

use toml_edit::{Array, ArrayOfTables, InlineTable, Item, Table, TableLike, Value, value};

use super::entry::Entry;
use crate::{
    address,
    change::{ChangeError, unknown_endpoint},
    model::EndpointAddress,
};

pub(super) fn set_weight(
    cluster: &mut dyn TableLike,
    folder: &Path,
    name: &str,
    address: &EndpointAddress,
    weight: u16,
) -> Result<(), ChangeError> {
    match entry_of(cluster, folder, name, address)? {
        // It has that weight as it is.
        Entry::Listed(Value::String(_)) if weight == 1 => {}
        entry => entry.set("weight", Value::from(i64::from(weight))),
    }
    Ok(())
}

pub(super) fn set_disabled(
    cluster: &mut dyn TableLike,
    folder: &Path,
    name: &str,
    address: &EndpointAddress,
    disabled: bool,
) -> Result<(), ChangeError> {
    let entry = entry_of(cluster, folder, name, address)?;
    if disabled {
        entry.set("disabled", Value::from(true));
    } else {
        entry.remove("disabled");
    }
    Ok(())
}

pub(super) fn add(
    cluster: &mut dyn TableLike,
    folder: &Path,
    name: &str,
    address: &EndpointAddress,
    weight: u16,
) -> Result<(), ChangeError> {
    if find(cluster, folder, address).is_some() {
        return Err(ChangeError::EndpointExists {
            cluster: name.to_owned(),
            address: address.clone(),
        });
    }
    match cluster.get_mut("endpoints") {
        Some(Item::Value(Value::Array(list))) => push(list, entry(address, weight)),
        Some(Item::ArrayOfTables(tables)) => push_table(tables, address, weight),
        _ => {
            let mut list = Array::new();
            list.push(entry(address, weight));
            cluster.insert("endpoints", value(list));
        }
    }
    Ok(())
}

pub(super) fn remove(
    cluster: &mut dyn TableLike,
    folder: &Path,
    name: &str,
    address: &EndpointAddress,
) -> Result<(), ChangeError> {
    let found = find(cluster, folder, address).ok_or_else(|| unknown_endpoint(name, address))?;
    match cluster.get_mut("endpoints") {
        Some(Item::Value(Value::Array(list))) => take_out(list, found),
        Some(Item::ArrayOfTables(tables)) => drop(tables.remove(found)),
        _ => {}
    }
    Ok(())
}

/// The entry of an address.
fn entry_of<'d>(
    cluster: &'d mut dyn TableLike,
    folder: &Path,
    name: &str,
    address: &EndpointAddress,
) -> Result<Entry<'d>, ChangeError> {
    let unknown = || unknown_endpoint(name, address);
    let found = find(cluster, folder, address).ok_or_else(unknown)?;
    let entry = match cluster.get_mut("endpoints") {
        Some(Item::Value(Value::Array(list))) => list.get_mut(found).map(Entry::Listed),
        Some(Item::ArrayOfTables(tables)) => tables.get_mut(found).map(Entry::Table),
        _ => None,
    };
    entry.ok_or_else(unknown)
}

/// Where in the list an address is, however it is spelt there.
fn find(cluster: &dyn TableLike, folder: &Path, wanted: &EndpointAddress) -> Option<usize> {
    let same = |text: Option<&str>| {
        text.and_then(|text| address::endpoint(text, folder).ok())
            .is_some_and(|found| found == *wanted)
    };
    match cluster.get("endpoints")? {
        Item::Value(Value::Array(list)) => list.iter().position(|entry| match entry {
            Value::InlineTable(table) => same(table.get("address").and_then(Value::as_str)),
            entry => same(entry.as_str()),
        }),
        Item::ArrayOfTables(tables) => {
            tables.iter().position(|table| same(table.get("address").and_then(Item::as_str)))
        }
        _ => None,
    }
}

fn entry(address: &EndpointAddress, weight: u16) -> Value {
    match weight {
        1 => Value::from(address.to_string()),
        _ => {
            let mut table = InlineTable::new();
            table.insert("address", Value::from(address.to_string()));
            table.insert("weight", Value::from(i64::from(weight)));
            Value::from(table)
        }
    }
}

fn push_table(tables: &mut ArrayOfTables, address: &EndpointAddress, weight: u16) {
    let mut table = Table::new();
    table.insert("address", value(address.to_string()));
    if weight != 1 {
        table.insert("weight", value(i64::from(weight)));
    }
    tables.push(table);
}

// A comment behind an entry's comma is, to TOML, in front of the next entry (or
// of the closing bracket). To a person it belongs to the line it stands on. What
// follows moves such text so that every comment stays on its line.

/// Appends an entry in the layout of the list.
fn push(list: &mut Array, mut entry: Value) {
    let Some(last) = list.len().checked_sub(1) else {
        list.push(entry);
        return;
    };
    let indent = list.iter().filter_map(|entry| indent(prefix(entry))).last();
    let Some(indent) = indent else {
        list.push(entry);
        return;
    };
    // What stands between the last entry and the bracket: behind its comma, or
    // behind the entry itself when it has none.
    let after = match list.trailing_comma() {
        true => list.trailing().as_str().unwrap_or_default().to_owned(),
        false => list.get(last).map(suffix).unwrap_or_default(),
    };
    let (kept, closing) = after.split_at(after.rfind('\n').unwrap_or(after.len()));
    entry.decor_mut().set_prefix(format!("{}{indent}", kept.trim_end()));
    if list.trailing_comma() {
        list.set_trailing(closing);
    } else {
        if let Some(last) = list.get_mut(last) {
            last.decor_mut().set_suffix("");
        }
        entry.decor_mut().set_suffix(closing);
    }
    list.push_formatted(entry);
}

/// Removes an entry and the comment behind it on its line; comments on the lines
/// above stay.
fn take_out(list: &mut Array, index: usize) {
    let removed = list.remove(index);
    let before = prefix(&removed);
    let Some(line) = before.rfind('\n') else {
        // All on one line: the new first entry takes the place of the old one.
        if index == 0
            && let Some(first) = list.get_mut(0)
        {
            first.decor_mut().set_prefix(before);
        }
        return;
    };
    let before = &before[..line];
    let rest = |text: &str| text.find('\n').map_or_else(String::new, |at| text[at..].to_owned());
    if let Some(next) = list.get_mut(index) {
        let following = prefix(next);
        next.decor_mut().set_prefix(format!("{before}{}", rest(&following)));
    } else if list.trailing_comma() || list.is_empty() {
        let following = list.trailing().as_str().unwrap_or_default().to_owned();
        list.set_trailing(format!("{before}{}", rest(&following)));
    } else if let Some(last) = list.get_mut(index - 1) {
        last.decor_mut().set_suffix(format!("{before}{}", rest(&suffix(&removed))));
    }
}

/// The line break and white space in front of an entry on a line of its own.
fn indent(prefix: String) -> Option<String> {
    prefix.rfind('\n').map(|at| prefix[at..].to_owned())
}

fn prefix(entry: &Value) -> String {
    entry.decor().prefix().and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

fn suffix(entry: &Value) -> String {
    entry.decor().suffix().and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}
