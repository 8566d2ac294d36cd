//! Objects are objects.
//!
//! serde takes an array where an object is expected, its elements as the fields in the
//! order of their definition. No document says so, and nobody means it.

use serde::{
    Deserializer, de,
    de::{
        DeserializeOwned, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Value};

/// Reads JSON in which objects are objects.
///
/// # Errors
///
/// It is not JSON, or not what `T` is made of; with its place, where that is known.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // The first reading tells places, and knows of keys that come twice.
    let _with_arrays: T = serde_json::from_slice(bytes)?;
    T::deserialize(Strict(serde_json::from_slice(bytes)?))
}

/// A JSON value whose arrays are never taken for objects.
struct Strict(Value);

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(items) => {
                SeqDeserializer::new(items.into_iter().map(Self)).deserialize_any(visitor)
            }
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| (name, Self(value)));
                MapDeserializer::new(fields).deserialize_any(visitor)
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"an object")),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {
        name: Option<String>,
        weight: f64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        inner: Option<Inner>,
        list: Vec<Inner>,
    }

    #[test]
    fn an_array_is_no_object_at_any_depth() {
        let read = |value| Outer::deserialize(Strict(value));
        let inner = || Inner { name: None, weight: 1.0 };
        let good = json!({ "inner": { "name": null, "weight": 1 }, "list": [{ "weight": 1 }] });
        assert_eq!(read(good).unwrap(), Outer { inner: Some(inner()), list: vec![inner()] });
        for bad in [
            json!([null, []]),
            json!({ "inner": [null, 1], "list": [] }),
            json!({ "inner": null, "list": [[null, 1]] }),
        ] {
            let error = read(bad.clone()).unwrap_err().to_string();
            assert!(error.contains("expected an object"), "{bad}: {error}");
        }
    }
}
