//! The attributes that expressions may ask about, by where the expression stands.

use weft_bundle::body::{AddressAttribute, Attribute, ListAttribute, NumberAttribute};

/// Where an expression stands, which decides what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// A condition of access: the request, its caller and the connection.
    Access,
    /// A filter of the access log: the response, too.
    AccessLog,
    /// Every attribute, also those that proxies do not know yet. For tests of the language.
    Everything,
}

/// An attribute: its name, what it is, and what it is called in a predicate.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The name, such as `request.path`.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// What proxies lack to know it, and what to do meanwhile; none if they know it.
    pub needs: Option<Lack>,
    pub(super) what: What,
}

/// What proxies lack to know an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What it is.
    pub what: &'static str,
    /// What does without it.
    pub instead: &'static str,
}

/// What an attribute is.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Text(&'static Attribute),
    Number(&'static NumberAttribute),
    Milliseconds(&'static NumberAttribute),
    Address(AddressAttribute),
    Texts(&'static ListAttribute),
    Headers,
    Claims,
}

const GREETING: Option<Lack> = Some(Lack {
    what: "proxies that keep the TLS greeting",
    instead: "route by server name with the `hostnames` of a TLSRoute, and allow callers at what it leads to",
});
const FORWARDED: Option<Lack> = Some(Lack {
    what: "proxies that read forwarding headers",
    instead: "ask for the peer of the connection, `source.address`, or decide at the gateway that the client comes to",
});
const ORIGINAL: Option<Lack> = Some(Lack {
    what: "proxies that keep the original destination",
    instead: "ask for `destination.port`, or give the address a service of its own",
});
/// A proxy that does not filter its log refuses a body that asks for it.
const LOG: Option<Lack> = None;

macro_rules! known {
    ($($name:literal, $what:expr, $needs:expr, $about:literal;)*) => {
        [$(Known { name: $name, about: $about, needs: $needs, what: $what }),*]
    };
}

/// Every attribute, in the order in which they are listed for people.
static ATTRIBUTES: [Known; 23] = known! {
    "request.method", What::Text(&Attribute::Method), None, "the method, as received";
    "request.scheme", What::Text(&Attribute::Scheme), None, "`http` or `https`";
    "request.host", What::Text(&Attribute::Host), None, "the host, in lower case, without port";
    "request.path", What::Text(&Attribute::Path), None, "the canonical path, without query";
    "request.query", What::Text(&Attribute::Query), None, "what follows `?`; empty if there is none";
    "request.headers", What::Headers, None, "header fields by their names in lower case";
    "source.identity", What::Text(&Attribute::Identity), None, "the caller's SPIFFE id";
    "source.trust_domain", What::Text(&Attribute::TrustDomain), None, "its trust domain";
    "source.namespace", What::Text(&Attribute::Namespace), None, "its namespace, of whatever trust domain";
    "source.service_account", What::Text(&Attribute::ServiceAccount), None, "its service account";
    "source.address", What::Address(AddressAttribute::Source), None, "the peer of the connection";
    "source.remote_address", What::Address(AddressAttribute::Remote), FORWARDED, "the client, from forwarding headers of trusted peers";
    "destination.address", What::Address(AddressAttribute::Destination), ORIGINAL, "the address that the peer connected to";
    "destination.port", What::Number(&NumberAttribute::DestinationPort), None, "the port of the workload";
    "connection.sni", What::Text(&Attribute::Sni), GREETING, "the server name in the TLS greeting";
    "token.issuer", What::Text(&Attribute::TokenIssuer), None, "`iss`";
    "token.subject", What::Text(&Attribute::TokenSubject), None, "`sub`";
    "token.presenter", What::Text(&Attribute::TokenPresenter), None, "`azp`";
    "token.principal", What::Text(&Attribute::TokenPrincipal), None, "`<iss>/<sub>`";
    "token.audiences", What::Texts(&ListAttribute::TokenAudiences), None, "`aud`, as a list";
    "token.claims", What::Claims, None, "claims by their names, also in objects";
    "response.code", What::Number(&NumberAttribute::ResponseCode), LOG, "the status of the response";
    "response.duration", What::Milliseconds(&NumberAttribute::ResponseMilliseconds), LOG, "how long it took";
};

impl Environment {
    /// The attributes that there are, whether or not proxies know them yet.
    pub fn attributes(self) -> impl Iterator<Item = &'static Known> {
        ATTRIBUTES.iter().filter(move |known| self != Self::Access || !known.name.starts_with("response."))
    }

    /// The attribute of that name.
    pub(super) fn find(self, name: &str) -> Option<&'static Known> {
        self.attributes().find(|known| known.name == name)
    }

    /// Whether some attribute is called `<object>.…`.
    pub(super) fn has_object(self, object: &str) -> bool {
        self.attributes().any(|known| known.name.split_once('.').is_some_and(|(owner, _)| owner == object))
    }
}
