//! The insides of lists, mappings and enumerations.

use std::borrow::Cow;

use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{Error, listed};
use super::{Fields, Value};
use crate::diagnostic::{Diagnostic, Edit, Fix, Safety, did_you_mean};
use crate::yaml::scalar::Short;
use crate::yaml::span::SPANNED;
use crate::yaml::tree::NodeId;
use crate::yaml::{Span, UNKNOWN_FIELD};

/// A value together with its place, as [`crate::yaml::Spanned`] wants it.
pub(super) struct Place<'r, 'de> {
    pub(super) value: Value<'r, 'de>,
    pub(super) span: Span,
    pub(super) next: u8,
}

impl<'de> SeqAccess<'de> for Place<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let number: U32Deserializer<Error> = match self.next {
            0 => self.span.file.0.into_deserializer(),
            1 => self.span.start.into_deserializer(),
            2 => self.span.end.into_deserializer(),
            _ => return seed.deserialize(self.value).map(Some),
        };
        self.next += 1;
        seed.deserialize(number).map(Some)
    }
}

/// The elements of a list.
pub(super) struct Items<'r, 'de> {
    pub(super) value: Value<'r, 'de>,
    pub(super) items: std::slice::Iter<'de, NodeId>,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    /// An element that cannot be read ends the list early, so that what follows the list is read still.
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let reader = self.value.reader;
        match self.value.child(*item).and_then(|value| seed.deserialize(value)) {
            Ok(element) => Ok(Some(element)),
            Err(error) => {
                reader.report(|| error.into_diagnostic(reader, *item));
                reader.broken.set(true);
                Ok(None)
            }
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a mapping.
pub(super) struct Entries<'r, 'de> {
    pub(super) value: Value<'r, 'de>,
    pub(super) entries: Cow<'de, [(NodeId, NodeId)]>,
    /// The place of the next.
    pub(super) next: usize,
    /// The key that was handed out, and its value.
    pub(super) pending: Option<(NodeId, NodeId)>,
    /// The fields of the type; `None` if keys are free.
    pub(super) known: Option<&'static [&'static str]>,
}

impl<'de> Entries<'_, 'de> {
    fn next(&mut self) -> Option<(NodeId, NodeId)> {
        let entry = self.entries.get(self.next).copied();
        self.next += 1;
        entry
    }

    /// Reports the unknown ones among the fields that will not be read any more.
    fn rest_unknown(&mut self) {
        let Some(known) = self.known else { return };
        while let Some((key, _)) = self.next() {
            let name = self.value.reader.document.text(key).unwrap_or_default();
            if !known.contains(&name) {
                self.unknown(key, name, known);
            }
        }
    }

    /// Reports a field that the type does not have.
    fn unknown(&self, key: NodeId, name: &str, known: &'static [&'static str]) {
        let reader = self.value.reader;
        if reader.fields == Fields::Lenient {
            return;
        }
        reader.report(|| {
            let place = match reader.path(self.value.node) {
                path if path.is_empty() => String::new(),
                path => format!(" in `{path}`"),
            };
            let span = reader.document.span(key);
            let message = format!("unknown field `{}`{place}", Short(name));
            let diagnostic = Diagnostic::error(UNKNOWN_FIELD, message).at(span);
            match did_you_mean(name, known.iter().copied()) {
                Some(near) => diagnostic.label(format!("did you mean `{near}`?")).fix(Fix {
                    message: format!("write `{near}`"),
                    safety: Safety::Unsafe,
                    edits: vec![Edit { span, replacement: near.to_owned() }],
                }),
                None => {
                    diagnostic.help(format!("the fields here are {}", listed(known).replace(" or ", " and ")))
                }
            }
        });
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        while let Some((key, value)) = self.next() {
            let document = self.value.reader.document;
            let name = document.text(key).unwrap_or_default();
            if let Some(known) = self.known
                && !known.contains(&name)
            {
                self.unknown(key, name, known);
                continue;
            }
            self.pending = Some((key, value));
            let key = Key { value: Value { node: key, ..self.value } };
            return seed.deserialize(key).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        let (key, node) =
            self.pending.take().ok_or_else(|| Error::new("a value was asked for before its key"))?;
        let value = Value { key: Some(key), ..self.value.child(node)? };
        seed.deserialize(value).map_err(|error| {
            self.rest_unknown();
            error.at(node)
        })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len().saturating_sub(self.next))
    }
}

/// A key of a mapping: always text, whatever it looks like.
struct Key<'r, 'de> {
    pub(super) value: Value<'r, 'de>,
}

impl<'de> Key<'_, 'de> {
    fn text(&self) -> &'de str {
        self.value.reader.document.text(self.value.node).unwrap_or_default()
    }
}

impl<'de> Deserializer<'de> for Key<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.text()).map_err(|error: Error| error.at(self.value.node))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == SPANNED {
            let span = self.value.reader.document.span(self.value.node);
            return visitor.visit_seq(KeyPlace { key: self, span, next: 0 });
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let node = self.value.node;
        visitor
            .visit_enum(Variant { value: self.value, key: node, content: None })
            .map_err(|error| error.at(node))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A key together with its place.
struct KeyPlace<'r, 'de> {
    key: Key<'r, 'de>,
    pub(super) span: Span,
    pub(super) next: u8,
}

impl<'de> SeqAccess<'de> for KeyPlace<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let number: U32Deserializer<Error> = match self.next {
            0 => self.span.file.0.into_deserializer(),
            1 => self.span.start.into_deserializer(),
            2 => self.span.end.into_deserializer(),
            _ => return seed.deserialize(Key { value: self.key.value }).map(Some),
        };
        self.next += 1;
        seed.deserialize(number).map(Some)
    }
}

/// The variant of an enumeration.
pub(super) struct Variant<'r, 'de> {
    pub(super) value: Value<'r, 'de>,
    pub(super) key: NodeId,
    pub(super) content: Option<NodeId>,
}

impl<'r, 'de> EnumAccess<'de> for Variant<'r, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name = self.value.reader.document.text(self.key).unwrap_or_default();
        let variant = seed
            .deserialize(BorrowedStrDeserializer::<Error>::new(name))
            .map_err(|error: Error| error.at(self.key))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(self.value.expected("a single word").at(self.key)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.content {
            Some(content) => {
                let value = Value { key: Some(self.key), ..self.value.child(content)? };
                seed.deserialize(value).map_err(|error| error.at(content))
            }
            None => Err(self.value.expected("a mapping with one key")),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        match self.content {
            Some(content) => self.value.child(content)?.deserialize_seq(visitor),
            None => Err(self.value.expected("a mapping with one key")),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.content {
            Some(content) => self.value.child(content)?.deserialize_struct("", fields, visitor),
            None => Err(self.value.expected("a mapping with one key")),
        }
    }
}
