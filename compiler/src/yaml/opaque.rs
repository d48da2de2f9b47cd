//! Values that are there, and are not looked into.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use super::Span;
use crate::source::FileId;

/// Any value at all, also none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opaque;

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Self)
    }
}

/// A field that is there and whose value we do not read, because it is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where the field's name is written.
    pub span: Span,
}

/// The newtype name by which [`super::de`] knows that the place of the key is wanted. No document can contain it.
pub(super) const UNREAD: &str = "$weft::Unread";

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(UNREAD, UnreadVisitor)
    }
}

struct UnreadVisitor;

impl<'de> Visitor<'de> for UnreadVisitor {
    type Value = Unread;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    /// File, start, end: as our own deserializer hands them out.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Unread, A::Error> {
        let missing = || A::Error::custom("only Weft's own YAML reader knows places");
        let file = parts.next_element()?.ok_or_else(missing)?;
        let start = parts.next_element()?.ok_or_else(missing)?;
        let end = parts.next_element()?.ok_or_else(missing)?;
        Ok(Unread { span: Span { file: FileId(file), start, end } })
    }
}

/// Both look the same in a schema: anything goes.
macro_rules! anything {
    ($($name:ident)*) => {
        $(impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!(true)
            }
        })*
    };
}

anything! { Opaque Unread }
