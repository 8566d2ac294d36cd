//! A service's description in a record: as what it says instead of as a text, so that
//! every value in it has a name to be judged by. Comments stay out.

use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

/// What a text in TOML says; `None` when it is not TOML.
pub(super) fn told(text: &str) -> Option<Value> {
    let document = text.parse::<DocumentMut>().ok()?;
    Some(table(document.as_table()))
}

fn table(fields: &dyn TableLike) -> Value {
    fields.iter().map(|(name, field)| (name.to_owned(), item(field))).collect()
}

fn item(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(one) => value(one),
        Item::Table(fields) => table(fields),
        Item::ArrayOfTables(tables) => tables.iter().map(|fields| table(fields)).collect(),
    }
}

fn value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;

    match value {
        Toml::String(text) => text.value().as_str().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(yes) => (*yes.value()).into(),
        Toml::Datetime(moment) => moment.value().to_string().into(),
        Toml::Array(items) => items.iter().map(self::value).collect(),
        Toml::InlineTable(fields) => table(fields),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_told() {
        let text = "# geheim\nport = 80\nratio = 0.5\nup = true\nsince = 1979-05-27T07:32:00Z\n\
                    command = [\"a\", \"b\"]\nlimits = { tasks = 5 }\n[[more]]\nx = 1\n[environment]\nKEY = \"v\"\n";
        let expected = json!({
            "port": 80, "ratio": 0.5, "up": true, "since": "1979-05-27T07:32:00Z",
            "command": ["a", "b"], "limits": { "tasks": 5 }, "more": [{ "x": 1 }],
            "environment": { "KEY": "v" },
        });
        assert_eq!(told(text), Some(expected));
        assert_eq!(told("port = "), None);
    }
}
