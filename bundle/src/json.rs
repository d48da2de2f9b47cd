//! Strict JSON in, canonical JSON out.
//!
//! The reader takes one meaning from a text or none: a key twice in an object, nesting past [`MAX_DEPTH`], a number
//! that is not an integer below 2^53, and bytes after the value are errors, at any level and also where the target
//! type would not have looked. The writer has one spelling per value: keys sorted by their UTF-8 bytes, no white space,
//! integers only, and the escapes `\" \\ \b \t \n \f \r` and `\u00xx` for control characters, nothing else.
//!
//! Canonical form is a producer's property. Verifiers hash and check the bytes they got; nothing here is ever used to
//! write a payload again in order to verify it.

mod canonical;

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// The deepest nesting of arrays and objects that is read. A scalar has depth 0, `{}` has depth 1.
pub const MAX_DEPTH: usize = 32;

/// The bound of integers: every one that is read or written is strictly nearer to zero than this.
pub const INTEGER_BOUND: u64 = 1 << 53;

/// Why a text is not the JSON we read, or a value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text ends before the value does.
    Truncated,
    /// It is not JSON, or something follows the value.
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// A key stands twice in one object.
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A number has a fraction or an exponent, or is not below 2^53.
    NotInteger,
    /// It is JSON, but not of the shape that was asked for.
    Shape {
        /// What is wrong, and where.
        message: String,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::Truncated => f.write_str("the text ends too early"),
            Self::Syntax { message } => write!(f, "not JSON: {message}"),
            Self::Shape { message } => f.write_str(message),
            Self::DuplicateKey { key } => write!(f, "the key `{}` stands twice", key.escape_debug()),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::NotInteger => f.write_str("a number is not an integer below 2^53"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads one value from the whole of `bytes`. White space around it is allowed.
///
/// # Errors
/// Every [`JsonError`]; which one when there are several is the first in the text.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JsonError> {
    read(bytes, Numbers::Integers)
}

/// Reads an object that others wrote, such as the claims of a token (RFC 7519, section 4): as [`from_slice`], with any number
/// that fits a float of 64 bits.
///
/// # Errors
/// Every [`JsonError`] but [`JsonError::NotInteger`].
pub fn foreign_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    read(bytes, Numbers::Any)
}

fn read<T: DeserializeOwned>(bytes: &[u8], numbers: Numbers) -> Result<T, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|_| JsonError::NotUtf8)?;
    // Two passes, because a type that ignores unknown fields would not look inside them, and because types may
    // read into maps, where the last of two equal keys would silently win.
    check(text, numbers)?;
    serde_json::from_str(text).map_err(|error| JsonError::Shape { message: error.to_string() })
}

/// The canonical bytes of a value. Leaving out empty fields is up to its type.
///
/// # Errors
/// * [`JsonError::NotInteger`] if it holds a number that is not an integer below 2^53.
/// * [`JsonError::Shape`] if it has no JSON form at all, such as a map with keys that are not texts.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    canonical::write(value, &mut out)?;
    Ok(out)
}

/// A value in canonical form, which [`to_canonical`] copies: for what many values hold alike. Other serializers see its
/// bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical(Arc<[u8]>);

impl Canonical {
    /// The canonical form of a value.
    ///
    /// # Errors
    /// As [`to_canonical`].
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        Ok(Self(to_canonical(value)?.into()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Serialize for Canonical {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(canonical::AS_IT_IS, &canonical::AsItIs(&self.0))
    }
}

/// Walks the whole text without keeping it.
fn check(text: &str, numbers: Numbers) -> Result<(), JsonError> {
    let refusal = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let walked =
        Strict { depth: 0, numbers, refusal: &refusal }.deserialize(&mut reader).and_then(|()| reader.end());
    walked.map_err(|error| {
        refusal.take().unwrap_or_else(|| match error.classify() {
            Category::Eof => JsonError::Truncated,
            Category::Io | Category::Syntax | Category::Data => {
                JsonError::Syntax { message: error.to_string() }
            }
        })
    })
}

/// Which numbers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Numbers {
    /// Those that have one spelling and one meaning everywhere.
    Integers,
    Any,
}

/// Accepts any value that keeps the rules; leaves the rule that was broken in `refusal`, because the reader's own error
/// can only carry text.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    numbers: Numbers,
    refusal: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, refusal: JsonError) -> E {
        let error = E::custom(&refusal);
        self.refusal.set(Some(refusal));
        error
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        match self.numbers {
            Numbers::Integers if number >= INTEGER_BOUND => Err(self.refuse(JsonError::NotInteger)),
            Numbers::Integers | Numbers::Any => Ok(()),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        self.visit_u64(number.unsigned_abs())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        match self.numbers {
            Numbers::Integers => Err(self.refuse(JsonError::NotInteger)),
            Numbers::Any => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if let Some(key) = keys.replace(key) {
                return Err(A::Error::custom(self.refuse::<A::Error>(JsonError::DuplicateKey { key })));
            }
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, JsonError> {
        from_slice(text.as_bytes())
    }

    #[test]
    fn canonical_bytes_are_exact() {
        let value = json!({
            "z": [1, -2, 0, 9_007_199_254_740_991_u64, null, true, false],
            "a": {"é": "\u{e9}\u{1f600}", "B": "q\"\\/\n\t\r\u{8}\u{c}\u{1f}\u{7f}", "": {}},
            "Z": [],
        });
        let expected = concat!(
            r#"{"Z":[],"a":{"":{},"B":"q\"\\/\n\t\r\b\f\u001f"#,
            "\u{7f}",
            r#"","é":"é😀"},"z":[1,-2,0,9007199254740991,null,true,false]}"#
        );
        assert_eq!(String::from_utf8(to_canonical(&value).unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_is_canonical_already_is_copied() {
        let inner = json!({ "b": "\u{1}", "a": [1] });
        let made = Canonical::of(&inner).unwrap();
        let parts = BTreeMap::from([("x", vec![made.clone(), made.clone()]), ("a", vec![made])]);
        let whole = json!({ "x": [inner, inner], "a": [inner] });
        assert_eq!(to_canonical(&parts).unwrap(), to_canonical(&whole).unwrap());
    }

    /// Every shape that serde knows, and keys that are not texts, as `serde_json` has them.
    #[test]
    fn each_shape_is_written_as_other_writers_do() {
        #[derive(Serialize)]
        struct Unit;
        #[derive(Serialize)]
        struct Newtype(u8);
        #[derive(Serialize)]
        struct Tuple(i8, char);
        #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
        enum Choice {
            Unit,
            Newtype(u16),
            Tuple(u8, bool),
            Struct { z: Option<u8>, a: () },
        }
        #[derive(Serialize)]
        struct All {
            z: (Unit, Newtype, Tuple),
            y: Vec<Choice>,
            numbers: BTreeMap<i64, bool>,
            truths: BTreeMap<bool, u8>,
            #[serde(flatten)]
            more: BTreeMap<String, u64>,
            empty: BTreeMap<String, u8>,
            choices: BTreeMap<Choice, u8>,
        }
        let all = All {
            z: (Unit, Newtype(1), Tuple(-2, '"')),
            y: vec![
                Choice::Unit,
                Choice::Newtype(3),
                Choice::Tuple(4, true),
                Choice::Struct { z: Some(5), a: () },
                Choice::Struct { z: None, a: () },
            ],
            numbers: BTreeMap::from([(-1, true), (10, false), (9, true)]),
            truths: BTreeMap::from([(true, 1), (false, 0)]),
            more: BTreeMap::from([("b".to_owned(), 6), ("\u{1}".to_owned(), 7)]),
            empty: BTreeMap::new(),
            choices: BTreeMap::from([(Choice::Unit, 8)]),
        };
        let bytes = to_canonical(&all).unwrap();
        assert_eq!(from_slice::<Value>(&bytes).unwrap(), serde_json::to_value(&all).unwrap());
        assert_eq!(to_canonical(&serde_json::to_value(&all).unwrap()).unwrap(), bytes);
        assert!(matches!(to_canonical(&BTreeMap::from([((1, 2), 3)])), Err(JsonError::Shape { .. })));
        assert!(
            bytes.starts_with(
                br#"{"\u0001":7,"b":6,"choices":{"Unit":8},"empty":{},"numbers":{"-1":true,"10":"#
            )
        );
    }

    #[test]
    fn keys_sort_by_bytes_not_by_utf16() {
        // U+1F600 sorts after U+FFFD in UTF-8 and before it in UTF-16.
        let map = BTreeMap::from([("\u{1f600}", 1), ("\u{fffd}", 2)]);
        assert_eq!(to_canonical(&map).unwrap(), "{\"\u{fffd}\":2,\"\u{1f600}\":1}".as_bytes());
    }

    #[test]
    fn canonical_form_has_integers_only() {
        assert_eq!(to_canonical(&1.5), Err(JsonError::NotInteger));
        assert_eq!(to_canonical(&(1_u64 << 53)), Err(JsonError::NotInteger));
        assert_eq!(to_canonical(&-(1_i64 << 53)), Err(JsonError::NotInteger));
        assert_eq!(to_canonical(&(1 - (1_i64 << 53))).unwrap(), b"-9007199254740991");
    }

    #[test]
    fn each_rule_of_the_reader_is_kept() {
        let duplicate = |key: &str| Err(JsonError::DuplicateKey { key: key.to_owned() });
        assert_eq!(read(r#"{"a":1,"a":1}"#), duplicate("a"));
        assert_eq!(read(r#"[{"b":{"a":1,"\u0061":2}}]"#), duplicate("a"));
        for number in
            ["1.0", "1e3", "-0", "9007199254740992", "-9007199254740992", "123456789012345678901234"]
        {
            assert_eq!(read(number), Err(JsonError::NotInteger), "{number}");
        }
        assert_eq!(read("9007199254740991").unwrap(), json!(9_007_199_254_740_991_u64));
        assert_eq!(from_slice::<Value>(b"\"\xff\""), Err(JsonError::NotUtf8));
        for text in ["", "{", "[1,", "\"abc", r#"{"a""#, "tru"] {
            assert_eq!(read(text), Err(JsonError::Truncated), "{text}");
        }
        for text in ["{}x", "{} {}", "[1,]", "{,}", "nul!", "'a'", "01", "\u{feff}{}", r#""\ud800""#, "NaN"] {
            assert!(matches!(read(text), Err(JsonError::Syntax { .. })), "{text}: {:?}", read(text));
        }
        assert!(matches!(from_slice::<u8>(b"\"x\""), Err(JsonError::Shape { .. })));
        assert_eq!(read(" {} \n").unwrap(), json!({}));
    }

    #[test]
    fn what_others_wrote_may_have_any_number() {
        let read = |text: &str| foreign_object(text.as_bytes());
        for number in ["1.5", "1e3", "-0", "9007199254740992", "123456789012345678901234"] {
            assert!(read(&format!(r#"{{"a":[{number}]}}"#)).is_ok(), "{number}");
        }
        assert!(matches!(read(r#"{"a":1e999}"#), Err(JsonError::Syntax { .. })));
        assert_eq!(read(r#"{"a":1.5,"a":1.5}"#), Err(JsonError::DuplicateKey { key: "a".to_owned() }));
        assert_eq!(read(&r#"{"a":"#.repeat(33)), Err(JsonError::TooDeep));
        assert!(matches!(read("[]"), Err(JsonError::Shape { .. })));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(JsonError::TooDeep));
        assert_eq!(read(&"[".repeat(10_000_000)), Err(JsonError::TooDeep));
        assert_eq!(read(&r#"{"a":"#.repeat(33)), Err(JsonError::TooDeep));
    }

    #[test]
    fn rules_hold_inside_fields_that_the_type_ignores() {
        #[derive(Debug, serde::Deserialize)]
        struct OnlyA {
            #[serde(rename = "a")]
            _a: u8,
        }
        assert_eq!(
            from_slice::<OnlyA>(br#"{"a":1,"b":{"c":1,"c":2}}"#).unwrap_err(),
            JsonError::DuplicateKey { key: "c".into() }
        );
        assert_eq!(from_slice::<OnlyA>(br#"{"a":1,"b":1.5}"#).unwrap_err(), JsonError::NotInteger);
    }

    proptest! {
        #[test]
        fn canonical_form_reads_back_and_is_a_fixed_point(
            map in proptest::collection::btree_map(".*", (any::<i32>(), proptest::option::of(".*")), 0..6)
        ) {
            let bytes = to_canonical(&map).unwrap();
            let back: BTreeMap<String, (i32, Option<String>)> = from_slice(&bytes).unwrap();
            prop_assert_eq!(&back, &map);
            let value: Value = from_slice(&bytes).unwrap();
            prop_assert_eq!(to_canonical(&value).unwrap(), bytes);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = from_slice::<Value>(&bytes) {
                let canonical = to_canonical(&value).unwrap();
                prop_assert_eq!(from_slice::<Value>(&canonical).unwrap(), value);
            }
        }
    }
}
