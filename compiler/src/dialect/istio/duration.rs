//! Durations as Istio writes them.

use serde::de::{Deserialize, Deserializer, Error};
use weft_bundle::duration::DurationText;

use crate::yaml::Spanned;

/// Reads `1h`, `1m`, `1s`, `1ms`, combinations of them, and fractions such as `0.5s`.
pub(super) fn optional<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<DurationText>>, D::Error> {
    let Some(text) = Option::<Spanned<String>>::deserialize(deserializer)? else { return Ok(None) };
    let duration = parse(&text).ok_or_else(|| {
        D::Error::custom(format_args!(
            "`{}` is not a duration such as `250ms`, `0.5s` or `1m30s`",
            text.value
        ))
    })?;
    Ok(Some(Spanned::new(duration, text.span)))
}

/// A fraction must come out in whole milliseconds, Istio's own resolution.
fn parse(text: &str) -> Option<DurationText> {
    let Some((whole, rest)) = text.split_once('.') else { return text.parse().ok() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (fraction, unit) = rest.split_at_checked(digits)?;
    if whole.is_empty() || whole.len() > 5 || fraction.is_empty() || fraction.len() > 3 || unit != "s" {
        return None;
    }
    let seconds: u64 = whole.parse().ok()?;
    let millis: u64 = format!("{fraction:0<3}").parse().ok()?;
    Some(std::time::Duration::from_millis(seconds * 1000 + millis).into())
}
