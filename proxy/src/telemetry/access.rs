//! Lines of the access log, in the form of all other log lines: as text for people, or one JSON object.
//!
//! They are written here and not by the logging library, because policy says which fields there are, and in which order.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::Duration;

use time::OffsetDateTime;
use weft_bundle::body::AccessLog;

use super::log::LogFormat;

/// A field, by its place in [`AccessLog::FIELDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field(usize);

impl Field {
    /// The field of that name.
    pub(super) fn named(name: &str) -> Option<Self> {
        AccessLog::FIELDS.iter().position(|known| *known == name).map(Self)
    }

    /// Every field, in order.
    pub(super) fn all() -> Vec<Self> {
        (0..AccessLog::FIELDS.len()).map(Self).collect()
    }

    /// What stands in it, of all fields in order.
    pub(super) fn of<'v>(self, all: &[Option<Value<'v>>]) -> Option<Value<'v>> {
        all.get(self.0).copied().flatten()
    }

    pub(super) fn name(self) -> &'static str {
        AccessLog::FIELDS.get(self.0).copied().unwrap_or_default()
    }
}

/// What stands in a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'v> {
    /// A text, which may be somebody else's.
    Text(&'v str),
    /// What is plain as it is, such as an address.
    Plain(&'v dyn Display),
    Number(u64),
    /// In milliseconds, with at most three decimals.
    Time(Duration),
}

/// A line, without its end.
pub(super) fn line<'v>(
    format: LogFormat,
    now: OffsetDateTime,
    fields: impl Iterator<Item = (&'static str, Value<'v>)>,
) -> String {
    let mut line = String::with_capacity(512);
    // Writing to a string cannot fail.
    let _ = match format {
        LogFormat::Text => text(&mut line, now, fields),
        LogFormat::Json => json(&mut line, now, fields),
    };
    line
}

fn text<'v>(
    line: &mut String,
    now: OffsetDateTime,
    fields: impl Iterator<Item = (&'static str, Value<'v>)>,
) -> std::fmt::Result {
    timestamp(line, now)?;
    line.push_str("  INFO access:");
    for (name, value) in fields {
        write!(line, " {name}=")?;
        match value {
            Value::Text(text) => write!(line, "{text:?}")?,
            Value::Plain(plain) => write!(line, "{plain}")?,
            Value::Number(number) => write!(line, "{number}")?,
            Value::Time(time) => milliseconds(line, time)?,
        }
    }
    Ok(())
}

fn json<'v>(
    line: &mut String,
    now: OffsetDateTime,
    fields: impl Iterator<Item = (&'static str, Value<'v>)>,
) -> std::fmt::Result {
    line.push_str("{\"timestamp\":\"");
    timestamp(line, now)?;
    line.push_str("\",\"level\":\"INFO\"");
    for (name, value) in fields {
        write!(line, ",\"{name}\":")?;
        match value {
            Value::Text(text) => quoted(line, text),
            Value::Plain(plain) => quoted(line, &plain.to_string()),
            Value::Number(number) => write!(line, "{number}")?,
            Value::Time(time) => milliseconds(line, time)?,
        }
    }
    line.push_str(",\"target\":\"access\"}");
    Ok(())
}

fn quoted(line: &mut String, text: &str) {
    // A text always has a form in JSON.
    line.push_str(&serde_json::to_string(text).unwrap_or_default());
}

fn timestamp(line: &mut String, now: OffsetDateTime) -> std::fmt::Result {
    let (date, time) = (now.date(), now.time());
    write!(
        line,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.microsecond()
    )
}

fn milliseconds(line: &mut String, time: Duration) -> std::fmt::Result {
    let micros = time.as_micros();
    let (whole, rest) = (micros / 1000, micros % 1000);
    write!(line, "{whole}")?;
    if rest > 0 {
        let decimals = format!("{rest:03}");
        write!(line, ".{}", decimals.trim_end_matches('0'))?;
    }
    Ok(())
}

/// Writes a line to where log lines go, at once.
pub(super) fn write(mut line: String) {
    line.push('\n');
    // Where nobody reads, nothing is to be done about it.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: LogFormat) -> String {
        let now = OffsetDateTime::from_unix_timestamp_nanos(1_800_000_000_000_045_678).unwrap();
        let address: std::net::SocketAddr = "[::1]:80".parse().unwrap();
        let fields = [
            ("path", Value::Text("/a\"\r\nx\u{1b}")),
            ("client", Value::Plain(&address)),
            ("status", Value::Number(200)),
            ("duration_ms", Value::Time(Duration::from_nanos(16_250_999))),
        ];
        line(format, now, fields.into_iter())
    }

    #[test]
    fn lines_are_one_line_and_times_are_short() {
        assert_eq!(
            shown(LogFormat::Text),
            r#"2027-01-15T08:00:00.000045Z  INFO access: path="/a\"\r\nx\u{1b}" client=[::1]:80 status=200 duration_ms=16.25"#
        );
        let json = shown(LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["path"], "/a\"\r\nx\u{1b}");
        assert_eq!(value["duration_ms"].to_string(), "16.25");
        assert!(!json.contains('\n') && json.ends_with(r#","target":"access"}"#), "{json}");
    }

    #[test]
    fn duration_ms_printed_sixteen_digits() {
        let shown = |time: Duration| {
            let mut text = String::new();
            milliseconds(&mut text, time).unwrap();
            text
        };
        for (nanos, text) in [
            (0, "0"),
            (999, "0"),
            (1_000, "0.001"),
            (1_100_000, "1.1"),
            (2_000_000_000, "2000"),
            (1_010_999, "1.01"),
        ] {
            assert_eq!(shown(Duration::from_nanos(nanos)), text);
        }
    }
}
