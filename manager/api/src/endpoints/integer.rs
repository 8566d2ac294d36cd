//! How large numbers may be, as the document says it.

use utoipa::{
    Number,
    openapi::{
        KnownFormat, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, ArrayItems},
    },
};

/// Unsigned numbers are described as signed ones that are not negative, which leaves out the
/// upper half of what they may be; this brings it back. What says how large it may be by
/// itself stays as it is.
pub(super) fn widen(schema: &mut RefOr<Schema>) {
    if let RefOr::T(schema) = schema {
        widen_inline(schema);
    }
}

fn widen_inline(schema: &mut Schema) {
    match schema {
        Schema::Object(object) => {
            object.properties.values_mut().for_each(widen);
            if let Some(AdditionalProperties::RefOr(rest)) =
                object.additional_properties.as_deref_mut()
            {
                widen(rest);
            }
            let unsigned = object.minimum.is_some() && object.maximum.is_none();
            let (format, maximum) = match object.format {
                Some(SchemaFormat::KnownFormat(KnownFormat::Int32)) => {
                    ("uint32", u32::MAX as usize)
                }
                Some(SchemaFormat::KnownFormat(KnownFormat::Int64)) => ("uint64", usize::MAX),
                _ => return,
            };
            if unsigned {
                object.format = Some(SchemaFormat::Custom(format.to_owned()));
                object.maximum = Some(Number::UInt(maximum));
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                widen(items);
            }
            array.prefix_items.iter_mut().for_each(widen_inline);
        }
        Schema::OneOf(one) => one.items.iter_mut().for_each(widen),
        Schema::AllOf(all) => all.items.iter_mut().for_each(widen),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(widen),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use utoipa::{PartialSchema, ToSchema};

    use super::*;

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its description is looked at")]
    struct Numbers {
        wide: u64,
        narrow: Option<u32>,
        bounded: Vec<Inner>,
        signed: i32,
    }

    #[derive(ToSchema)]
    #[expect(dead_code, reason = "only its description is looked at")]
    #[schema(no_recursion)]
    struct Inner {
        #[schema(maximum = 7)]
        few: u8,
    }

    fn described<T: PartialSchema>() -> Value {
        let mut schema = T::schema();
        widen(&mut schema);
        serde_json::to_value(&schema).unwrap()["properties"].clone()
    }

    #[test]
    fn numbers_may_be_as_large_as_their_types() {
        let numbers = described::<Numbers>();
        assert_eq!(numbers["wide"]["maximum"], json!(u64::MAX));
        assert_eq!(numbers["narrow"]["maximum"], json!(u32::MAX));
        assert_eq!(numbers["narrow"]["format"], "uint32");
        assert_eq!(
            (&numbers["signed"]["maximum"], &numbers["signed"]["format"]),
            (&Value::Null, &json!("int32"))
        );
        assert_eq!(described::<Inner>()["few"]["maximum"], json!(7));
    }
}
