//! W3C trace context (`traceparent`, `tracestate`): passed on as it comes, and made where policy says that traces begin here.
//!
//! A trace of a caller goes on untouched: nobody hears of spans of ours, and a parent that nobody knows would tear its trace
//! apart. What is no trace context is replaced, with its state (Trace Context level 1, section 4.3), but only where policy
//! says something of traces.

use http::{HeaderMap, HeaderName, HeaderValue};
use weft_bundle::body::Fraction;

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// Goes on with the trace of a request, or begins one if `sampling` says that there are traces. `draw` gives random numbers.
pub(super) fn carry(headers: &mut HeaderMap, sampling: Option<Fraction>, mut draw: impl FnMut() -> u64) {
    let Some(sampling) = sampling else { return };
    if trace_id(headers).is_some() {
        return;
    }
    headers.remove(PARENT);
    headers.remove(STATE);
    let flags = if sampling.takes(draw()) { "01" } else { "00" };
    // Zero is no id.
    let (high, low, span) = (draw(), draw().max(1), draw().max(1));
    let text = format!("00-{high:016x}{low:016x}-{span:016x}-{flags}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(PARENT, value);
    }
}

/// The id of the trace of a request; none if there is none, or no valid one.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parents = headers.get_all(PARENT).iter();
    let parent = parents.next()?;
    if parents.next().is_some() {
        return None;
    }
    read(parent.to_str().ok()?)
}

/// The trace id of `version-traceid-parentid-flags` (section 3.2). Later versions may have more behind it.
fn read(parent: &str) -> Option<&str> {
    let mut parts = parent.splitn(5, '-');
    let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, length| hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let ends = parts.next().is_none() || version != "00";
    (hex(version, 2) && version != "ff" && is_id(trace, 32) && is_id(span, 16) && hex(flags, 2) && ends)
        .then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT_OF_A_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn carried(parents: &[&str], sampling: Option<Fraction>) -> (Vec<String>, bool) {
        let mut headers = HeaderMap::new();
        for parent in parents {
            headers.append(PARENT, parent.parse().unwrap());
        }
        headers.insert(STATE, HeaderValue::from_static("a=1"));
        let mut number = 0;
        carry(&mut headers, sampling, || {
            number += 1;
            number
        });
        let parents = headers.get_all(PARENT).iter().map(|parent| parent.to_str().unwrap().to_owned());
        (parents.collect(), headers.contains_key(STATE))
    }

    #[test]
    fn a_trace_of_a_caller_goes_on_untouched() {
        for parent in [
            PARENT_OF_A_CALLER,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later",
        ] {
            for sampling in [None, Some(Fraction::ALL), Some(Fraction::percent(0))] {
                assert_eq!(carried(&[parent], sampling), (vec![parent.to_owned()], true));
            }
        }
    }

    #[test]
    fn what_is_no_trace_is_replaced_with_its_state() {
        let made = |flags: &str| {
            (vec![format!("00-00000000000000020000000000000003-0000000000000004-{flags}")], false)
        };
        let upper = PARENT_OF_A_CALLER.to_ascii_uppercase();
        for parents in [
            &[][..],
            &[PARENT_OF_A_CALLER, PARENT_OF_A_CALLER],
            &[""],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
            &["00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            &[upper.as_str()],
        ] {
            assert_eq!(carried(parents, Some(Fraction::ALL)), made("01"), "{parents:?}");
            assert_eq!(carried(parents, Some(Fraction::percent(0))), made("00"), "{parents:?}");
            let untouched = parents.iter().map(|parent| (*parent).to_owned()).collect();
            assert_eq!(carried(parents, None), (untouched, true));
        }
    }
}
