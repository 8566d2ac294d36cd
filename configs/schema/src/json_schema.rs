//! The definitions as JSON Schema, so that editors complete and check a file.

use serde_json::{Map, Value as Json, json};

use crate::{
    definition::{KeyDefinition, Kind, Presence, TableDefinition, TextForm, WordDefinition},
    raw::Value,
    read::{definition, quoted},
    sections, unit,
};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// JSON Schema (draft 2020-12) of `bs9.toml`.
pub fn json_schema() -> Json {
    document(
        "bs9.toml",
        "Configuration of the bs9 data plane.",
        &definition(sections::config_sections),
    )
}

/// JSON Schema (draft 2020-12) of `manager.toml`.
pub fn manager_json_schema() -> Json {
    document("manager.toml", "Configuration of the bs9 manager.", &definition(sections::manager))
}

/// JSON Schema (draft 2020-12) of `services/NAME.toml`.
pub fn service_json_schema() -> Json {
    document(
        "services/NAME.toml",
        "A service that bs9 keeps running.",
        &definition(sections::service),
    )
}

fn document(title: &str, description: &str, definition: &TableDefinition) -> Json {
    let mut schema = json!({ "$schema": DRAFT, "title": title, "description": description });
    extend(&mut schema, table(definition));
    schema
}

fn table(definition: &TableDefinition) -> Json {
    let properties: Map<_, _> =
        definition.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = definition.keys.iter().filter(|key| matches!(key.presence, Presence::Required));
    let required: Vec<_> = required.map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        extend(&mut schema, json!({ "required": required }));
    }
    schema
}

fn property(key: &KeyDefinition) -> Json {
    let mut doc = key.doc.to_owned();
    if !key.only.is_empty() {
        doc.push_str(&format!(" Only for protocol {}.", quoted(key.only, ", ")));
    }
    let mut schema = json!({ "description": doc });
    extend(&mut schema, kind(&key.kind));
    if let Presence::Default(value) = &key.presence {
        extend(&mut schema, json!({ "default": json_value(value) }));
    }
    schema
}

fn kind(kind: &Kind) -> Json {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Numbers(numbers) => json!({ "enum": numbers }),
        Kind::Float { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": unit::DURATION_PATTERN }),
        Kind::Size { .. } => json!({ "type": "string", "pattern": unit::SIZE_PATTERN }),
        Kind::Text(form) => text(form),
        Kind::Words(words) => {
            let words = words.iter().filter(|word| !word.unsupported);
            // One that holds a `:` stands for all that start so.
            let word = |word: &WordDefinition| match word.text.split_once(':') {
                Some((start, _)) => {
                    json!({ "type": "string", "pattern": format!("^{start}:."), "description": word.doc })
                }
                None => json!({ "const": word.text, "description": word.doc }),
            };
            json!({ "oneOf": words.map(word).collect::<Vec<_>>() })
        }
        Kind::Secret => json!({ "type": "string", "minLength": 1 }),
        Kind::List { of, at_least } => {
            json!({ "type": "array", "items": self::kind(of), "minItems": at_least })
        }
        Kind::Table(definition) => table(definition),
        Kind::Named { name, of } => {
            json!({ "type": "object", "propertyNames": text(name), "additionalProperties": table(of) })
        }
        Kind::Pairs { name, value } => {
            json!({ "type": "object", "propertyNames": text(name), "additionalProperties": text(value) })
        }
        Kind::Map { name, of } => {
            json!({ "type": "object", "propertyNames": text(name), "additionalProperties": self::kind(of) })
        }
        Kind::Either(a, b) => json!({ "anyOf": [self::kind(a), self::kind(b)] }),
    }
}

fn text(form: &TextForm) -> Json {
    match form.pattern {
        Some(pattern) => json!({ "type": "string", "pattern": pattern }),
        None => json!({ "type": "string" }),
    }
}

fn json_value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Bool(yes) => json!(yes),
        Value::Time => Json::Null,
        Value::List(nodes) => nodes.iter().map(|node| json_value(&node.value)).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(name, entry)| (name.clone(), json_value(&entry.node.value)))
            .collect(),
    }
}

/// Adds the members of one object to another.
fn extend(into: &mut Json, from: Json) {
    if let (Json::Object(into), Json::Object(from)) = (into, from) {
        into.extend(from);
    }
}
