//! What a rule asks `when`, as the reachability core reads it: conditions on who calls and from where, which is what the
//! negated lists of Istio's sources become (`notPrincipals`, `notNamespaces`, `notServiceAccounts`, `notIpBlocks`).
//!
//! A caller without an identity has no such text, and a condition that is turned round holds for it, as in Envoy. A
//! predicate about something that is not there is an error and no answer, so only those are read that ask first whether
//! it is there; everything else is not known here.

use weft_bundle::body::{AddressAttribute, Attribute, IdentityMatch, Predicate, StringMatch};
use weft_bundle::engine::literal_regex;

use crate::reach::{self, FieldCondition, FieldPattern, StringPattern};

/// The name of the fact that is the identity of the caller.
const IDENTITY: &str = "identity";
/// The name of the fact that is the address of the caller, in bits.
const ADDRESS: &str = "address";

/// All that a predicate says; none if a part of it is not known here.
pub(super) fn exactly(when: &Predicate) -> Option<Vec<FieldCondition>> {
    parts(when).into_iter().collect()
}

/// What is known of a predicate, which holds only where all of this does.
pub(super) fn at_least(when: &Predicate) -> Vec<FieldCondition> {
    parts(when).into_iter().flatten().collect()
}

/// That the caller is one of these.
pub(super) fn is_identity(wanted: &IdentityMatch) -> FieldCondition {
    match wanted {
        IdentityMatch::Exact(id) => text(IDENTITY, StringPattern::Exact(id.to_string()), false),
        wanted => text(IDENTITY, StringPattern::Regex(identity(wanted)), false),
    }
}

/// That the caller's address is in a network.
pub(super) fn is_in(network: &ipnet::IpNet) -> FieldCondition {
    text(ADDRESS, StringPattern::Regex(reach::network(network)), false)
}

fn text(name: &str, pattern: StringPattern, invert: bool) -> FieldCondition {
    FieldCondition { name: name.to_owned(), value: FieldPattern::Text(pattern), invert }
}

fn matches(name: &str, patterns: &[String], invert: bool) -> FieldCondition {
    text(name, StringPattern::Regex(format!("(?:{})", patterns.join("|"))), invert)
}

/// The parts that must all hold; none for each that is not known.
fn parts(when: &Predicate) -> Vec<Option<FieldCondition>> {
    let parts = match when {
        Predicate::All(parts) => parts.as_slice(),
        part => std::slice::from_ref(part),
    };
    let mut is_there = false;
    let read = parts.iter().map(|part| match part {
        Predicate::Has(of) => {
            let pattern = presence(of)?;
            is_there = true;
            Some(matches(IDENTITY, &[pattern], false))
        }
        Predicate::Not(part) => negated(part),
        Predicate::Address { of: AddressAttribute::Source, any } => Some(in_any(any, false)),
        part => Some(matches(IDENTITY, &alternatives(part).filter(|_| is_there)?, false)),
    });
    read.collect()
}

fn negated(part: &Predicate) -> Option<FieldCondition> {
    match part {
        Predicate::Has(of) => Some(matches(IDENTITY, &[presence(of)?], true)),
        Predicate::Address { of: AddressAttribute::Source, any } => Some(in_any(any, true)),
        Predicate::All(parts) => match parts.as_slice() {
            [Predicate::Has(of), asked] if presence(of).is_some() => {
                Some(matches(IDENTITY, &alternatives(asked)?, true))
            }
            [Predicate::Has(of), namespace, account] if presence(of).is_some() => {
                Some(matches(IDENTITY, &[account_in(namespace, account)?], true))
            }
            _ => None,
        },
        _ => None,
    }
}

fn in_any(networks: &[ipnet::IpNet], invert: bool) -> FieldCondition {
    let networks: Vec<String> = networks.iter().map(reach::network).collect();
    match networks.is_empty() {
        // No address is in none of them.
        true => text(ADDRESS, StringPattern::Regex("[^\\x00-\\xff]".to_owned()), invert),
        false => matches(ADDRESS, &networks, invert),
    }
}

/// The identities that have an attribute.
fn presence(of: &Attribute) -> Option<String> {
    match of {
        Attribute::Identity | Attribute::TrustDomain => Some("spiffe://.+".to_owned()),
        Attribute::Namespace | Attribute::ServiceAccount => Some(account("[^/]+", "[^/]+")),
        _ => None,
    }
}

/// The identities that any of some conditions is for.
fn alternatives(asked: &Predicate) -> Option<Vec<String>> {
    match asked {
        Predicate::Any(list) if !list.is_empty() => list.iter().map(one).collect(),
        asked => Some(vec![one(asked)?]),
    }
}

fn one(asked: &Predicate) -> Option<String> {
    match asked {
        Predicate::Identity(wanted) => Some(identity(wanted)),
        Predicate::Text { of: Attribute::Identity, is } => within(is, "."),
        Predicate::Text { of: Attribute::TrustDomain, is } => {
            Some(format!("spiffe://{}(?:/.*)?", within(is, "[^/]")?))
        }
        Predicate::Text { of: Attribute::Namespace, is } => Some(account(&within(is, "[^/]")?, "[^/]+")),
        Predicate::Text { of: Attribute::ServiceAccount, is } => Some(account("[^/]+", &within(is, "[^/]")?)),
        Predicate::All(parts) => match parts.as_slice() {
            [namespace, account] => account_in(namespace, account),
            _ => None,
        },
        _ => None,
    }
}

fn account_in(namespace: &Predicate, name: &Predicate) -> Option<String> {
    match (namespace, name) {
        (
            Predicate::Text { of: Attribute::Namespace, is: namespace },
            Predicate::Text { of: Attribute::ServiceAccount, is: name },
        ) => Some(account(&within(namespace, "[^/]")?, &within(name, "[^/]")?)),
        _ => None,
    }
}

/// The identities of accounts, whatever their trust domain.
fn account(namespace: &str, name: &str) -> String {
    format!("spiffe://[^/]+/ns/{namespace}/sa/{name}")
}

/// The expression for a text condition, where `any` stands for one character.
fn within(is: &StringMatch, any: &str) -> Option<String> {
    Some(match is {
        StringMatch::Exact(text) => literal_regex(text),
        StringMatch::Prefix(text) => format!("{}{any}*", literal_regex(text)),
        StringMatch::Suffix(text) => format!("{any}*{}", literal_regex(text)),
        StringMatch::Present => format!("{any}*"),
        StringMatch::Regex(_) => return None,
    })
}

fn identity(wanted: &IdentityMatch) -> String {
    match wanted {
        IdentityMatch::Exact(id) => literal_regex(&id.to_string()),
        IdentityMatch::Namespace { trust_domain, namespace } => {
            let beginning = literal_regex(&format!("spiffe://{trust_domain}/ns/{namespace}/sa/"));
            format!("{beginning}[^/]+")
        }
        IdentityMatch::TrustDomain(trust_domain) => {
            format!("{}(?:/.*)?", literal_regex(&format!("spiffe://{trust_domain}")))
        }
    }
}
