//! Canonical bytes straight from a value: keys are sorted within the bytes already written, no tree is made.
//!
//! An object is written field by field as it comes, each with a comma before it; when it ends, its fields are put in
//! order if they are not yet. That is how a body of a hundred thousand bytes costs microseconds, not the allocation of
//! each of its values.

use std::borrow::Cow;
use std::ops::Range;

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use serde_json::Value;

use super::{INTEGER_BOUND, JsonError};

impl ser::Error for JsonError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape { message: message.to_string() }
    }
}

/// Writes a value behind what is there.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), JsonError> {
    value.serialize(Writer { out, as_it_is: false })
}

/// The newtype name by which a writer knows that bytes are canonical already.
pub(super) const AS_IT_IS: &str = "$weft::Canonical";

/// Such bytes.
pub(super) struct AsItIs<'b>(pub(super) &'b [u8]);

impl Serialize for AsItIs<'_> {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0x00..0x20);
    while let Some((plain, byte, tail)) = rest.iter().position(special).and_then(|at| {
        let (plain, tail) = rest.split_at_checked(at)?;
        tail.split_first().map(|(byte, tail)| (plain, *byte, tail))
    }) {
        out.extend_from_slice(plain);
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.extend_from_slice(format!("\\u{other:04x}").as_bytes()),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_number(magnitude: u128, negative: bool, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if magnitude >= u128::from(INTEGER_BOUND) {
        return Err(JsonError::NotInteger);
    }
    let sign = if negative { "-" } else { "" };
    out.extend_from_slice(format!("{sign}{magnitude}").as_bytes());
    Ok(())
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Whether bytes are copied, because they are canonical already.
    as_it_is: bool,
}

/// Methods that write an integer.
macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, number: $type) -> Result<(), JsonError> {
            #[allow(unused_comparisons)]
            let negative = number < 0;
            let magnitude = i128::from(number).unsigned_abs();
            write_number(magnitude, negative, self.out)
        })*
    };
}

impl<'o> Writer<'o> {
    fn bare(self, text: &str) -> Result<(), JsonError> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Begins `{"variant":`; what comes next is its value.
    fn variant(&mut self, name: &str) {
        self.out.push(b'{');
        write_text(name, self.out);
        self.out.push(b':');
    }

    fn list(self, end: &'static [u8]) -> List<'o> {
        self.out.push(b'[');
        List { out: self.out, any: false, end }
    }

    fn object(self, end: &'static [u8]) -> Object<'o> {
        let start = self.out.len();
        Object { out: self.out, start, fields: Vec::new(), key: None, end }
    }
}

impl<'o> ser::Serializer for Writer<'o> {
    type Ok = ();
    type Error = JsonError;
    type SerializeSeq = List<'o>;
    type SerializeTuple = List<'o>;
    type SerializeTupleStruct = List<'o>;
    type SerializeTupleVariant = List<'o>;
    type SerializeMap = Object<'o>;
    type SerializeStruct = Object<'o>;
    type SerializeStructVariant = Object<'o>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    integers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_bool(self, value: bool) -> Result<(), JsonError> {
        self.bare(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, _: f32) -> Result<(), JsonError> {
        Err(JsonError::NotInteger)
    }

    fn serialize_f64(self, _: f64) -> Result<(), JsonError> {
        Err(JsonError::NotInteger)
    }

    fn serialize_char(self, value: char) -> Result<(), JsonError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), JsonError> {
        write_text(text, self.out);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), JsonError> {
        if self.as_it_is {
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), JsonError> {
        self.bare("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), JsonError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), JsonError> {
        self.bare("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), JsonError> {
        self.bare("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), JsonError> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        value.serialize(Self { as_it_is: name == AS_IT_IS, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), JsonError> {
        self.variant(name);
        write(value, self.out)?;
        self.bare("}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'o>, JsonError> {
        Ok(self.list(b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'o>, JsonError> {
        Ok(self.list(b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'o>, JsonError> {
        Ok(self.list(b"]"))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<List<'o>, JsonError> {
        self.variant(name);
        Ok(self.list(b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'o>, JsonError> {
        Ok(self.object(b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'o>, JsonError> {
        Ok(self.object(b"}"))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Object<'o>, JsonError> {
        self.variant(name);
        Ok(self.object(b"}}"))
    }
}

/// An array that is being written.
struct List<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
    end: &'static [u8],
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        if std::mem::replace(&mut self.any, true) {
            self.out.push(b',');
        }
        write(value, self.out)
    }

    fn finish(self) {
        self.out.extend_from_slice(self.end);
    }
}

/// An object that is being written: from `start`, each field with a comma before it.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    /// Keys, of which those of structs live as long as the program, and where the fields are.
    fields: Vec<(Cow<'static, str>, Range<usize>)>,
    /// The key whose value comes next.
    key: Option<String>,
    end: &'static [u8],
}

impl Object<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, key: Cow<'static, str>, value: &T) -> Result<(), JsonError> {
        let from = self.out.len();
        self.out.push(b',');
        write_text(&key, self.out);
        self.out.push(b':');
        write(value, self.out)?;
        self.fields.push((key, from..self.out.len()));
        Ok(())
    }

    fn finish(mut self) {
        let in_order = self.fields.is_sorted_by(|(a, _), (b, _)| a < b);
        if !in_order {
            let written = self.out.split_off(self.start);
            // Of two equal keys the later counts, as in every map.
            self.fields.reverse();
            self.fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            self.fields.dedup_by(|(later, _), (earlier, _)| later == earlier);
            for (_, Range { start, end }) in &self.fields {
                let range = start - self.start..end - self.start;
                self.out.extend_from_slice(written.get(range).unwrap_or_default());
            }
        }
        match self.out.get_mut(self.start) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.extend_from_slice(self.end);
    }
}

/// The text of a map's key, as JSON has it.
fn key_text<T: Serialize + ?Sized>(key: &T) -> Result<String, JsonError> {
    match serde_json::to_value(key) {
        Ok(Value::String(text)) => Ok(text),
        Ok(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Ok(Value::Bool(truth)) => Ok(truth.to_string()),
        Ok(_) => Err(JsonError::Shape { message: "key must be a string".to_owned() }),
        Err(error) => Err(JsonError::Shape { message: error.to_string() }),
    }
}

/// The traits of all that is written as a list, which differ in names only.
macro_rules! lists {
    ($($trait:ident: $method:ident),*) => {
        $(impl $trait for List<'_> {
            type Ok = ();
            type Error = JsonError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
                self.item(value)
            }

            fn end(self) -> Result<(), JsonError> {
                self.finish();
                Ok(())
            }
        })*
    };
}

lists!(SerializeSeq: serialize_element, SerializeTuple: serialize_element);
lists!(SerializeTupleStruct: serialize_field, SerializeTupleVariant: serialize_field);

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.key = Some(key_text(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        let key = self.key.take().unwrap_or_default();
        self.field(key.into(), value)
    }

    fn end(self) -> Result<(), JsonError> {
        self.finish();
        Ok(())
    }
}

/// The traits of all whose fields have fixed names.
macro_rules! structs {
    ($($trait:ident),*) => {
        $(impl $trait for Object<'_> {
            type Ok = ();
            type Error = JsonError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), JsonError> {
                self.field(name.into(), value)
            }

            fn end(self) -> Result<(), JsonError> {
                self.finish();
                Ok(())
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);
