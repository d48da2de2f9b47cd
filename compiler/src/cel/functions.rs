//! Functions: which there are, what they take, and what they come to.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use weft_bundle::body::{Attribute, NumberAttribute, Predicate, StringMatch};
use weft_bundle::duration::DurationText;

use super::Fault;
use super::literals;
use super::lower::{Lowering, Placed, listed};
use super::parse::Node;
use super::term::Term;
use crate::diagnostic::did_you_mean;
use crate::yaml::scalar::Short;

/// The functions that have a predicate.
pub(super) const FUNCTIONS: [&str; 7] =
    ["startsWith", "endsWith", "contains", "matches", "size", "inNetwork", "duration"];

/// Functions of CEL that have none.
const OTHERS: [&str; 23] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "string",
    "timestamp",
    "type",
    "uint",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "map",
    "filter",
    "exists",
    "all",
];

impl Lowering {
    pub(super) fn call(
        &mut self,
        name: &str,
        target: Option<&Node>,
        arguments: &[Node],
        range: &Range<usize>,
    ) -> Option<Term> {
        if !FUNCTIONS.contains(&name) {
            return self.unknown_function(name, range);
        }
        // `size(x)` and `x.size()` are one, as are the two forms of `matches`; the others have one form.
        let written = target.into_iter().chain(arguments).map(|part| self.placed(part)).collect::<Vec<_>>();
        let parts = written.into_iter().collect::<Option<Vec<Placed>>>()?;
        let (wants_target, form) = match name {
            "size" => (target.is_some(), "size(text)"),
            "matches" => (target.is_some(), "text.matches('pattern')"),
            "startsWith" => (true, "text.startsWith('text')"),
            "endsWith" => (true, "text.endsWith('text')"),
            "contains" => (true, "text.contains('text')"),
            "inNetwork" => (false, "inNetwork(source.address, '10.0.0.0/8', …)"),
            _ => (false, "duration('250ms')"),
        };
        let right_form = wants_target == target.is_some();
        match (name, <[Placed; 1]>::try_from(parts)) {
            ("size", Ok([of])) => self.size(of),
            ("duration", Ok([text])) if right_form => self.duration(text),
            ("inNetwork", Err(parts)) if right_form && parts.len() >= 2 => self.in_network(parts),
            ("startsWith" | "endsWith" | "contains" | "matches", Err(parts)) if right_form => {
                match <[Placed; 2]>::try_from(parts) {
                    Ok([of, what]) => self.text_function(name, of, what).map(Term::Condition),
                    Err(_) => self.wrong_form(name, form, range),
                }
            }
            _ => self.wrong_form(name, form, range),
        }
    }

    fn wrong_form<T>(&mut self, name: &str, form: &str, range: &Range<usize>) -> Option<T> {
        let fault = Fault::invalid(range, format!("`{name}` is called in another way than it is defined"));
        self.refuse(fault.help(format!("write `{form}`")))
    }

    fn unknown_function<T>(&mut self, name: &str, range: &Range<usize>) -> Option<T> {
        let fault = if OTHERS.contains(&name) {
            Fault::not_supported(range, format!("proxies have nothing for the function `{name}` of CEL"))
        } else {
            Fault::invalid(range, format!("there is no function `{name}`"))
        };
        let fault = match did_you_mean(name, FUNCTIONS) {
            Some(near) => fault.help(format!("did you mean `{near}`?")),
            None => fault.help(format!("there are {}", listed(&FUNCTIONS))),
        };
        self.refuse(fault)
    }

    fn size(&mut self, of: Placed) -> Option<Term> {
        match of.term {
            Term::Text(text) => Some(Term::Int(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))),
            Term::List(items) => Some(Term::Int(i64::try_from(items.len()).unwrap_or(i64::MAX))),
            Term::Attribute(attribute) => Some(Term::Number(NumberAttribute::Size(attribute))),
            other @ (Term::Texts(_) | Term::Headers | Term::Claims | Term::Claim(_)) => {
                let message = format!("`size` is for texts, and this is {}", other.describe());
                self.refuse(Fault::not_supported(&of.range, message))
            }
            other => {
                let message = format!("`size` is for texts, and this is {}", other.describe());
                self.refuse(Fault::invalid(&of.range, message))
            }
        }
    }

    fn duration(&mut self, text: Placed) -> Option<Term> {
        let Term::Text(written) = text.term else {
            let message = format!("this is {}, and must be a text such as `'250ms'`", text.term.describe());
            return self.refuse(Fault::invalid(&text.range, message));
        };
        match written.parse::<DurationText>() {
            Ok(duration) => {
                Some(Term::Duration(i64::try_from(duration.get().as_millis()).unwrap_or(i64::MAX)))
            }
            Err(error) => self.refuse(Fault::invalid(&text.range, error.to_string())),
        }
    }

    fn in_network(&mut self, parts: Vec<Placed>) -> Option<Term> {
        let mut parts = parts.into_iter();
        let address = parts.next()?;
        let Term::Address(of) = address.term else {
            let message = format!("this is {}, and must be an address", address.term.describe());
            let fault = Fault::invalid(&address.range, message).help("such as `source.address`");
            return self.refuse(fault);
        };
        let mut any = Vec::new();
        for part in parts {
            any.push(self.network(part)?);
        }
        any.sort_unstable();
        any.dedup();
        Some(Term::Condition(Predicate::Address { of, any }))
    }

    fn network(&mut self, part: Placed) -> Option<IpNet> {
        let Term::Text(text) = part.term else {
            let message =
                format!("this is {}, and must be a network in a literal text", part.term.describe());
            return self.refuse(Fault::invalid(&part.range, message));
        };
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match parsed {
            Ok(network) if network.trunc() == network => Some(network),
            Ok(network) => {
                let message = format!("`{network}` has address bits beyond its prefix");
                let fault = Fault::invalid(&part.range, message);
                self.refuse(fault.help(format!("write `{}`, or a longer prefix", network.trunc())))
            }
            Err(_) => {
                let message = format!("`{}` is not a network such as `10.0.0.0/8`", Short(&text));
                self.refuse(Fault::invalid(&part.range, message))
            }
        }
    }

    fn text_function(&mut self, name: &str, of: Placed, what: Placed) -> Option<Predicate> {
        let Term::Text(text) = what.term else {
            let message = format!("this is {}, and `{name}` takes a literal text", what.term.describe());
            let fault = match what.term {
                Term::Attribute(_) | Term::Claim(_) => Fault::not_supported(&what.range, message),
                _ => Fault::invalid(&what.range, message),
            };
            return self.refuse(fault);
        };
        let attribute = match of.term {
            Term::Text(literal) => return self.folded(name, &literal, &text, &what.range),
            Term::Attribute(attribute) => attribute,
            Term::Claim(path) => Attribute::Claim(path),
            other => {
                let message = format!("`{name}` is for texts, and this is {}", other.describe());
                return self.refuse(Fault::invalid(&of.range, message));
            }
        };
        let is = match name {
            "startsWith" => match literals::prefix(&attribute, &text) {
                Ok(()) => StringMatch::Prefix(text),
                Err(never) => return self.refuse(never.at(&what.range)),
            },
            "endsWith" => StringMatch::Suffix(text),
            "contains" => StringMatch::Regex(literals::anywhere(&literals::escape(&text))),
            _ => StringMatch::Regex(self.pattern(&text, &what.range)?),
        };
        Some(Predicate::Text { of: attribute, is })
    }

    /// The same on a literal.
    fn folded(&mut self, name: &str, text: &str, what: &str, range: &Range<usize>) -> Option<Predicate> {
        let holds = match name {
            "startsWith" => text.starts_with(what),
            "endsWith" => text.ends_with(what),
            "contains" => text.contains(what),
            _ => {
                let pattern = self.pattern(what, range)?;
                weft_bundle::engine::whole_regex(&pattern).is_ok_and(|regex| regex.is_match(text.as_bytes()))
            }
        };
        Some(Predicate::constant(holds))
    }

    /// A pattern that may match anywhere, as one that matches the whole.
    fn pattern(&mut self, pattern: &str, range: &Range<usize>) -> Option<String> {
        match literals::whole(pattern) {
            Ok(whole) => Some(whole),
            Err(error) => {
                let fault = Fault::invalid(range, error.to_string());
                self.refuse(fault.note("expressions are those of RE2: no look-around, no back-references"))
            }
        }
    }
}
