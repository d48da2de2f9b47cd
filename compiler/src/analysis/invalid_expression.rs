//! # What it finds
//! A CEL expression that is not one, that asks for an attribute or function that there is not, that compares things of
//! different types, or that nothing could ever meet. The column is that of the part that is wrong.
//!
//! # Why it matters
//! Elsewhere such an expression is found when the first request arrives, and then every request fails or passes.
//!
//! # Example
//! ```yaml
//! when: request.headres['x-env'] == 'test'          # there is no attribute `request.headres`
//! when: request.path == 1                           # a text and a number
//! when: request.path.startsWith('api')              # every path begins with `/`
//! when: "'X-Env' in request.headers"                # names of headers are in lower case
//! ```
//!
//! # Fix
//! The message says what there is. Attributes of access rules:
//!
//! | attribute | type | what it is |
//! |---|---|---|
//! | `request.method`, `request.scheme` | text | as received; `http` or `https` |
//! | `request.host` | text | in lower case, without port |
//! | `request.path`, `request.query` | text | the canonical path; what follows `?`, empty if nothing does |
//! | `request.headers['x-env']` | text | a header; `'x-env' in request.headers` and `has(request.headers.cookie)` test for one |
//! | `source.identity` | text | the caller's SPIFFE id |
//! | `source.trust_domain`, `source.namespace`, `source.service_account` | text | its parts; a namespace is one of any trust domain |
//! | `source.address` | address | the peer of the connection |
//! | `destination.port` | number | the port of the workload |
//!
//! Functions and operators: `==`, `!=`, `&&`, `||`, `!`, `c ? a : b`; `<`, `<=`, `>`, `>=` for numbers; `in` with a literal
//! list; `startsWith`, `endsWith`, `contains`, `matches` (RE2, anywhere in the text) and `size` for texts;
//! `inNetwork(source.address, '10.0.0.0/8', '192.0.2.7')` for addresses; `exists` and `all` over a literal list, such as
//! `['/a', '/b'].exists(p, request.path.startsWith(p))`. What is known of a request is compared with literals, never with
//! each other.
//!
//! What is not there, such as a header that was not sent, is an *error*, as in CEL: `false && error` is false,
//! `true || error` is true, everything else with it is an error. A rule that allows does not hold then; a rule that denies
//! or audits does. So write `has(request.headers.debug) && request.headers.debug == 'on'` in a denial that is not meant for
//! requests without the header. A header with several lines is looked at line by line; if they disagree, that is an error.
//!
//! # References
//! CEL language definition (github.com/google/cel-spec), sections on evaluation and logical operators.
