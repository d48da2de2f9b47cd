//! Tokens that must be believed, and many more that must not.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::body::{Body, TokenLocation};
use crate::engine::path::CanonicalPath;
use crate::spiffe::SpiffeId;

const NOW: i64 = 1_800_000_000;

/// A key of each kind, made once.
struct Keys {
    ed: Ed25519KeyPair,
    ec: [EcdsaKeyPair; 3],
    rsa: RsaKeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let ec = |how: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(how).unwrap();
    Keys {
        ed: Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap(),
        ec: [
            ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        ],
        rsa: RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(),
    }
});

fn part(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(bytes.as_ref())
}

/// The pinned keys, by their ids.
fn jwks() -> Value {
    let ec = |place: usize, curve: &str| {
        let point = KEYS.ec[place].public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        json!({"kty": "EC", "crv": curve, "kid": curve, "x": part(x), "y": part(y)})
    };
    // `RSAPublicKey`, as DER has it: a sequence of two integers, of which the modulus has a zero before it.
    let der = KEYS.rsa.public_key().as_ref();
    let n = &der[9..9 + KEYS.rsa.public_modulus_len()];
    json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": part(KEYS.ed.public_key())},
        ec(0, "P-256"), ec(1, "P-384"), ec(2, "P-521"),
        {"kty": "RSA", "kid": "rsa", "n": part(n), "e": "AQAB"},
    ]})
}

fn sign(algorithm: &str, message: &str) -> Vec<u8> {
    let (random, bytes) = (SystemRandom::new(), message.as_bytes());
    let rsa = |how: &'static dyn RsaEncoding| {
        let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
        KEYS.rsa.sign(how, &random, bytes, &mut signature).unwrap();
        signature
    };
    match algorithm {
        "EdDSA" | "Ed25519" => KEYS.ed.sign(bytes).as_ref().to_vec(),
        "ES256" => KEYS.ec[0].sign(&random, bytes).unwrap().as_ref().to_vec(),
        "ES384" => KEYS.ec[1].sign(&random, bytes).unwrap().as_ref().to_vec(),
        "ES512" => KEYS.ec[2].sign(&random, bytes).unwrap().as_ref().to_vec(),
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_SHA512),
        other => panic!("{other}"),
    }
}

/// A token with this header and these claims, signed by `algorithm`, whatever the header says.
fn signed(algorithm: &str, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = part(sign(algorithm, &message));
    format!("{message}.{signature}")
}

const CLAIMS: &str = r#"{"iss":"https://id.example","sub":"jo","aud":"shop","exp":1800000300}"#;

fn good() -> String {
    signed("EdDSA", r#"{"alg":"EdDSA","kid":"ed"}"#, CLAIMS)
}

fn provider() -> TokenProvider {
    TokenProvider {
        origin: Origin { object: "TokenProvider a/users".into(), rule: None, file: "t.yaml".into(), line: 7 },
        issuer: "https://id.example".into(),
        audiences: vec!["bank".into(), "shop".into()],
        jwks: jwks().to_string(),
        locations: vec![TokenLocation::Header { name: "authorization".into(), prefix: "Bearer ".into() }],
        forward: false,
        payload_header: None,
        claim_headers: [("x-sub".to_owned(), vec!["sub".to_owned()])].into(),
        space_delimited_claims: Vec::new(),
    }
}

fn reader(providers: Vec<TokenProvider>) -> Result<TokenReader, BuildError> {
    let identity: SpiffeId = "spiffe://td/ns/a/sa/b".parse().unwrap();
    let mut body = Body::new("mesh", "a/b".into(), identity);
    let ids: Vec<String> = (0..providers.len()).map(|number| number.to_string()).collect();
    body.token_providers = ids.iter().cloned().zip(providers).collect();
    TokenReader::compile(&body, &ids, &|| "inbound port 80".to_owned()).map(Option::unwrap)
}

/// What is brought: header fields, and a query.
fn judge_in<'r>(
    reader: &'r TokenReader,
    fields: &[(&'static str, &str)],
    query: Option<&str>,
    memory: &impl TokenMemory,
) -> Judged<'r> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let path = CanonicalPath::parse("/").unwrap();
    let request =
        Request { method: "GET", scheme: "http", authority: "a", path: &path, query, headers: &headers };
    reader.judge(&request, Some(NOW), memory)
}

fn judge<'r>(reader: &'r TokenReader, token: &str) -> Judged<'r> {
    judge_in(reader, &[("authorization", &format!("Bearer {token}"))], None, &NoMemory)
}

fn fault(judged: Judged<'_>) -> TokenFault {
    match judged {
        Judged::Refused(refused) => refused.fault,
        other => panic!("{other:?}"),
    }
}

fn is_valid(judged: &Judged<'_>) -> bool {
    matches!(judged, Judged::Valid(_))
}

#[test]
fn every_algorithm_is_believed_with_its_own_key_and_no_other() {
    let reader = reader(vec![provider()]).unwrap();
    let kid = |algorithm: &str| match algorithm {
        "ES256" => "P-256",
        "ES384" => "P-384",
        "ES512" => "P-521",
        "EdDSA" | "Ed25519" => "ed",
        _ => "rsa",
    };
    let all =
        ["EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    for algorithm in all {
        let header = json!({"alg": algorithm, "kid": kid(algorithm)}).to_string();
        assert!(is_valid(&judge(&reader, &signed(algorithm, &header, CLAIMS))), "{algorithm}");
        let unnamed = json!({"alg": algorithm}).to_string();
        assert!(is_valid(&judge(&reader, &signed(algorithm, &unnamed, CLAIMS))), "{algorithm} without kid");
        for other in all.into_iter().filter(|other| (*other == "EdDSA") != (algorithm == "Ed25519")) {
            // The header says one thing, and another was done.
            if other != algorithm && kid(other) == kid(algorithm) {
                let mixed = signed(other, &header, CLAIMS);
                assert_eq!(fault(judge(&reader, &mixed)), TokenFault::Signature, "{other} as {algorithm}");
            }
            if kid(other) != kid(algorithm) {
                // The id of a key that is not for this algorithm.
                let confused = json!({"alg": algorithm, "kid": kid(other)}).to_string();
                let judged = judge(&reader, &signed(algorithm, &confused, CLAIMS));
                assert!(matches!(fault(judged), TokenFault::NoKey { .. }), "{algorithm} by {}", kid(other));
            }
        }
    }
}

#[test]
fn no_algorithm_is_believed_on_the_tokens_own_word() {
    let reader = reader(vec![provider()]).unwrap();
    let payload = part(CLAIMS);
    for name in ["none", "None", "nOnE", "HS256", "HS512", "RS1", "ES256K", "rs256", "eddsa", "RSA-OAEP", ""]
    {
        let header = part(json!({"alg": name, "kid": "rsa"}).to_string());
        for signature in [String::new(), part([0; 32]), part(KEYS.rsa.public_key())] {
            let token = format!("{header}.{payload}.{signature}");
            assert_eq!(fault(judge(&reader, &token)), TokenFault::Algorithm(name.to_owned()), "{name}");
        }
    }
    // The public key as a shared secret (CVE-2016-10555): there are no shared secrets.
    let mut set = jwks();
    set["keys"][0] = json!({"kty": "oct", "kid": "ed", "k": part([7; 32]), "alg": "HS256"});
    let secret = TokenProvider { jwks: set.to_string(), ..provider() };
    let reader = self::reader(vec![secret]).unwrap();
    assert!(matches!(fault(judge(&reader, &good())), TokenFault::NoKey { .. }));
}

#[test]
fn a_key_signs_only_what_it_is_for() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut set = jwks();
        set["keys"].as_array_mut().unwrap().iter_mut().for_each(change);
        let reader = reader(vec![TokenProvider { jwks: set.to_string(), ..provider() }]).unwrap();
        let rsa = signed("RS256", r#"{"alg":"RS256"}"#, CLAIMS);
        let pss = signed("PS256", r#"{"alg":"PS256"}"#, CLAIMS);
        [rsa, pss].map(|token| is_valid(&judge(&reader, &token)))
    };
    let set = |name: &'static str, value: Value| move |key: &mut Value| key[name] = value.clone();
    assert_eq!(with(&|_| {}), [true, true]);
    assert_eq!(with(&set("alg", json!("RS256"))), [true, false]);
    assert_eq!(with(&set("alg", json!("PS256"))), [false, true]);
    assert_eq!(with(&set("alg", json!("ES256"))), [false, false]);
    assert_eq!(with(&set("use", json!("sig"))), [true, true]);
    assert_eq!(with(&set("use", json!("enc"))), [false, false]);
    assert_eq!(with(&set("use", json!(1))), [false, false]);
    assert_eq!(with(&set("key_ops", json!(["verify"]))), [true, true]);
    assert_eq!(with(&set("key_ops", json!(["sign", "wrapKey"]))), [false, false]);
    assert_eq!(with(&set("kty", json!("EC"))), [false, false]);
}

#[test]
fn a_key_of_another_curve_or_off_its_curve_verifies_nothing() {
    let token = signed("ES256", r#"{"alg":"ES256"}"#, CLAIMS);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut set = jwks();
        change(&mut set["keys"][1]);
        let reader = reader(vec![TokenProvider { jwks: set.to_string(), ..provider() }]).unwrap();
        is_valid(&judge(&reader, &token))
    };
    assert!(with(&|_| {}));
    for curve in ["P-384", "P-521", "secp256k1", "Ed25519", "p-256"] {
        assert!(!with(&|key| key["crv"] = json!(curve)), "{curve}");
    }
    assert!(!with(&|key| key["y"] = key["x"].clone()), "no point of the curve");
    assert!(!with(&|key| key["x"] = json!(part([0; 33]))), "too long");
    assert!(!with(&|key| (key["x"], key["y"]) = (json!(part([0; 32])), json!(part([0; 32])))), "nothing");
}

#[test]
fn signatures_have_one_form() {
    let reader = reader(vec![provider()]).unwrap();
    let token = signed("ES256", r#"{"alg":"ES256","kid":"P-256"}"#, CLAIMS);
    let (message, text) = token.rsplit_once('.').unwrap();
    let plain = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let refused = |signature: &[u8]| fault(judge(&reader, &format!("{message}.{}", part(signature))));
    // CVE-2022-21449: zeros are no signature.
    let half = |byte: u8| [byte; 32];
    for odd in [
        [half(0), half(0)].concat(),
        [half(0), half(1)].concat(),
        [plain[..32].to_vec(), vec![0; 32]].concat(),
        [half(255), half(255)].concat(),
        plain[..63].to_vec(),
        [&plain[..], &[0]].concat(),
        [&[0], &plain[..]].concat(),
        Vec::new(),
    ] {
        assert_eq!(refused(&odd), TokenFault::Signature, "{odd:?}");
    }
    // DER, as X.509 has it.
    let der = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let der = der.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    assert_eq!(refused(der.as_ref()), TokenFault::Signature);
    // Base64 has one spelling: no padding, no other alphabet, no white space, no bits left over.
    let last = text.chars().last().unwrap();
    let twin = char::from(
        b"BCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_A"
            [b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                .iter()
                .position(|c| char::from(*c) == last)
                .unwrap()],
    );
    let spelled = [
        format!("{text}=="),
        format!("{}{twin}", text.split_at(text.len() - 1).0),
        format!("{}\t{}", text.split_at(9).0, text.split_at(9).1),
        format!("{}+/", text.split_at(text.len() - 2).0),
    ];
    for odd in spelled {
        assert_eq!(fault(judge(&reader, &format!("{message}.{odd}"))), TokenFault::Malformed, "{odd}");
    }
}

/// The order of P-256, less one half of a signature: the twin that is as valid (RFC 7518 asks for neither). It is the same
/// token: it has the same claims and lives as long, and nothing here counts tokens by their signature.
#[test]
fn the_twin_of_a_signature_proves_no_more_than_the_signature() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let reader = reader(vec![provider()]).unwrap();
    let token = signed("ES256", r#"{"alg":"ES256","kid":"P-256"}"#, CLAIMS);
    let (message, text) = token.rsplit_once('.').unwrap();
    let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let difference = i32::from(ORDER[place]) - i32::from(bytes[32 + place]) - borrow;
        borrow = i32::from(difference < 0);
        bytes[32 + place] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let twin = format!("{message}.{}", part(&bytes));
    let memory = Kept::default();
    let claims = |token: &str| {
        let field = format!("Bearer {token}");
        match judge_in(&reader, &[("authorization", &field)], None, &memory) {
            Judged::Valid(bearer) => bearer.token().clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(claims(&twin), claims(&token));
    assert_eq!(memory.0.borrow().len(), 2, "and they are kept apart");
}

#[test]
fn what_a_token_says_of_keys_and_extensions_is_not_followed() {
    let reader = reader(vec![provider()]).unwrap();
    let own = json!({"kty": "OKP", "crv": "Ed25519", "x": part(Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap().public_key())});
    for header in [
        json!({"alg": "EdDSA", "jwk": own}),
        json!({"alg": "EdDSA", "jku": "https://evil.example/keys"}),
        json!({"alg": "EdDSA", "x5u": "https://evil.example/cert", "x5c": ["AA"]}),
        json!({"alg": "EdDSA", "kid": "ed", "b64": false, "typ": "at+jwt", "cty": "JWT"}),
    ] {
        let text = header.to_string();
        assert!(is_valid(&judge(&reader, &signed("EdDSA", &text, CLAIMS))), "ours is believed: {text}");
        let message = format!("{}.{}", part(&text), part(CLAIMS));
        let evil = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap().sign(message.as_bytes());
        let judged = judge(&reader, &format!("{message}.{}", part(evil)));
        assert_eq!(fault(judged), TokenFault::Signature, "theirs is not: {text}");
    }
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), json!("b64"), json!(null)] {
        let header = json!({"alg": "EdDSA", "kid": "ed", "crit": crit, "b64": false}).to_string();
        assert_eq!(fault(judge(&reader, &signed("EdDSA", &header, CLAIMS))), TokenFault::Critical, "{crit}");
    }
    for kid in ["../../etc/passwd", "ed' OR '1'='1", "ED", "", "rsa", "ed\u{0}"] {
        let header = json!({"alg": "EdDSA", "kid": kid}).to_string();
        let judged = judge(&reader, &signed("EdDSA", &header, CLAIMS));
        assert!(matches!(fault(judged), TokenFault::NoKey { .. }), "{kid}");
    }
    let header = r#"{"alg":"EdDSA","kid":1}"#;
    assert_eq!(fault(judge(&reader, &signed("EdDSA", header, CLAIMS))), TokenFault::Malformed);
}

#[test]
fn hostile_texts_are_refused_quickly() {
    let reader = reader(vec![provider()]).unwrap();
    let header = r#"{"alg":"EdDSA","kid":"ed"}"#;
    let of = |header: &str, claims: &str| fault(judge(&reader, &signed("EdDSA", header, claims)));
    let deep = format!("{}{}", r#"{"a":"#.repeat(40), "}".repeat(40));
    let twice = CLAIMS.replace("\"sub\":\"jo\"", r#""sub":"jo","\u0073ub":"mo""#);
    for claims in [
        deep.as_str(),
        &"[".repeat(8_000),
        &twice,
        "[]",
        "null",
        "",
        "{",
        "{}{}",
        "{\"iss\":\"\u{0}",
        "\u{feff}{}",
    ] {
        assert_eq!(of(header, claims), TokenFault::Malformed, "{claims:.40}");
    }
    assert_eq!(of(r#"{"alg":"EdDSA","alg":"none"}"#, CLAIMS), TokenFault::Malformed);
    assert_eq!(of(r#"{"alg":["EdDSA"]}"#, CLAIMS), TokenFault::NoAlgorithm);
    assert_eq!(of("{}", CLAIMS), TokenFault::NoAlgorithm);
    for token in ["", ".", "..", "...", "a.b", "a.b.c.d.e", "e30.e30.", "\u{e9}.\u{e9}.\u{e9}", "a b.c.d"] {
        let why = fault(judge(&reader, token));
        assert!(matches!(why, TokenFault::Malformed | TokenFault::NoAlgorithm), "{token}: {why}");
    }
    let padded = |bytes: usize| format!(r#"{{"iss":"https://id.example","pad":"{}"}}"#, "a".repeat(bytes));
    assert_eq!(of(header, &padded(MAX_TOKEN_BYTES)), TokenFault::TooLong);
    assert!(matches!(of(header, &padded(1_000)), TokenFault::Audience));
    let loud = "x".repeat(5_000);
    let text = TokenFault::Issuer(loud).to_string();
    assert!(text.len() < 200 && !TokenFault::Algorithm("a\r\nb".into()).to_string().contains('\n'), "{text}");
}

#[test]
fn claims_mean_what_they_say() {
    let reader = reader(vec![provider()]).unwrap();
    let of = |from: &str, to: &str| {
        let claims = CLAIMS.replace(from, to);
        assert_ne!(claims, CLAIMS);
        judge(&reader, &signed("EdDSA", r#"{"alg":"EdDSA"}"#, &claims))
    };
    for (from, to) in [
        ("\"shop\"", r#"["x","shop"]"#),
        ("1800000300", "1799999941"),
        ("1800000300", "1.8e9"),
        (r#","exp":1800000300"#, ""),
        ("\"exp\"", r#""nbf":1800000060,"exp""#),
    ] {
        assert!(is_valid(&of(from, to)), "{to}");
    }
    for (from, to, why) in [
        ("\"shop\"", "\"Shop\"", TokenFault::Audience),
        ("\"shop\"", "[]", TokenFault::Audience),
        ("\"shop\"", r#"{"shop":1}"#, TokenFault::Audience),
        (r#""aud":"shop","#, "", TokenFault::Audience),
        ("1800000300", "1799999940", TokenFault::Expired),
        ("1800000300", "-1", TokenFault::Expired),
        ("1800000300", "\"1800000300\"", TokenFault::Time("exp")),
        ("1800000300", "null", TokenFault::Time("exp")),
        ("\"exp\"", r#""nbf":1800000061,"exp""#, TokenFault::Early),
        ("\"exp\"", r#""nbf":true,"exp""#, TokenFault::Time("nbf")),
        ("https://id.example", "https://id.example/", TokenFault::Issuer("https://id.example/".into())),
        (r#""iss":"https://id.example","#, "", TokenFault::Issuer(String::new())),
        ("\"https://id.example\"", "[\"https://id.example\"]", TokenFault::Issuer(String::new())),
    ] {
        assert_eq!(fault(of(from, to)), why, "{to}");
    }
}

#[test]
fn a_token_is_found_where_providers_say_and_only_once() {
    let query = TokenProvider {
        locations: vec![
            TokenLocation::Query("access_token".into()),
            TokenLocation::Cookie("sid".into()),
            TokenLocation::Header { name: "x-token".into(), prefix: String::new() },
        ],
        ..provider()
    };
    let reader = reader(vec![query]).unwrap();
    let token = good();
    let (in_query, in_cookie) = (format!("a=1&access_token={token}&b"), format!("a=b; sid={token}; c"));
    let of =
        |fields: &[(&'static str, &str)], query: Option<&str>| judge_in(&reader, fields, query, &NoMemory);
    assert!(is_valid(&of(&[], Some(&in_query))));
    assert!(is_valid(&of(&[("cookie", "a=1"), ("cookie", &in_cookie)], None)));
    assert!(is_valid(&of(&[("x-token", &format!(" {token} "))], Some(&in_query))), "the same twice is one");
    assert!(matches!(of(&[("authorization", &format!("Bearer {token}"))], None), Judged::Missing));
    assert!(matches!(
        of(&[("cookie", "xsid=1; sidx=2; sid")], Some("xaccess_token=1&access_token")),
        Judged::Missing
    ));
    let other = signed("EdDSA", r#"{"alg":"EdDSA"}"#, CLAIMS);
    for fields in [&[("x-token", other.as_str())][..], &[("x-token", "")], &[("x-token", "\u{ff}")]] {
        assert_eq!(fault(of(fields, Some(&in_query))), TokenFault::Several, "{fields:?}");
    }
    for odd in [format!("access_token=&x={token}"), "access_token=%65%79".to_owned()] {
        assert_eq!(fault(of(&[], Some(&odd))), TokenFault::Malformed, "{odd}");
    }
    // A scheme is compared without case: an application may do so.
    let header = self::reader(vec![provider()]).unwrap();
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let field = format!("{scheme} {token}");
        assert!(is_valid(&judge_in(&header, &[("authorization", &field)], None, &NoMemory)), "{scheme}");
    }
    assert!(matches!(
        judge_in(&header, &[("authorization", "Basic am86")], None, &NoMemory),
        Judged::Missing
    ));
    assert_eq!(
        fault(judge_in(&header, &[("authorization", "bearer x")], None, &NoMemory)),
        TokenFault::Malformed
    );
}

#[test]
fn of_several_providers_the_one_of_the_issuer_and_place_decides() {
    let origin = |object: &str| Origin { object: object.into(), ..provider().origin };
    let other_key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": part([9; 32])}]});
    let strangers = TokenProvider {
        origin: origin("strangers"),
        issuer: "https://other.example".into(),
        locations: vec![TokenLocation::Header { name: "x-token".into(), prefix: String::new() }],
        ..provider()
    };
    let stale = TokenProvider { origin: origin("stale"), jwks: other_key.to_string(), ..provider() };
    let reader = reader(vec![strangers, stale, provider()]).unwrap();
    let token = good();
    match judge(&reader, &token) {
        Judged::Valid(bearer) => assert_eq!(bearer.provider().origin, provider().origin, "its key made it"),
        other => panic!("{other:?}"),
    }
    // At the place of another provider nobody of its issuer reads it.
    let elsewhere = judge_in(&reader, &[("x-token", &token)], None, &NoMemory);
    assert_eq!(fault(elsewhere), TokenFault::Issuer("https://id.example".into()));
    let other = signed("EdDSA", r#"{"alg":"EdDSA"}"#, &CLAIMS.replace("id.ex", "other.ex"));
    assert!(is_valid(&judge_in(&reader, &[("x-token", &other)], None, &NoMemory)));
    assert!(matches!(fault(judge(&reader, &other)), TokenFault::Issuer(_)));
    match judge(&reader, &signed("EdDSA", r#"{"alg":"EdDSA"}"#, &CLAIMS.replace("shop", "x"))) {
        Judged::Refused(refused) => {
            assert_eq!((refused.origin.object.as_str(), refused.fault), ("stale", TokenFault::Signature));
        }
        other => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Kept(RefCell<HashMap<[u8; 32], Arc<VerifiedToken>>>);

impl TokenMemory for Kept {
    fn recall(&self, digest: &Digest) -> Option<Arc<VerifiedToken>> {
        self.0.borrow().get(digest.as_bytes()).cloned()
    }

    fn keep(&self, digest: Digest, verified: &Arc<VerifiedToken>) {
        self.0.borrow_mut().insert(*digest.as_bytes(), Arc::clone(verified));
    }
}

#[test]
fn what_is_remembered_is_as_good_as_what_would_be_verified_anew() {
    let memory = Kept::default();
    let reader = reader(vec![provider()]).unwrap();
    let field = format!("Bearer {}", good());
    let at = |reader: &TokenReader, now: i64| {
        let mut headers = HeaderMap::new();
        headers.append("authorization", field.parse().unwrap());
        let path = CanonicalPath::parse("/").unwrap();
        let request = Request {
            method: "GET",
            scheme: "http",
            authority: "a",
            path: &path,
            query: None,
            headers: &headers,
        };
        match reader.judge(&request, Some(now), &memory) {
            Judged::Refused(refused) => Some(refused.fault),
            Judged::Valid(_) => None,
            Judged::Missing => panic!(),
        }
    };
    assert_eq!((at(&reader, NOW), at(&reader, NOW)), (None, None));
    assert_eq!(memory.0.borrow().len(), 1);
    let kept = memory.0.borrow().values().next().unwrap().clone();
    assert_eq!(kept.ends(), Some(1_800_000_300 + TOKEN_LEEWAY_SECONDS));
    assert_eq!(at(&reader, kept.ends().unwrap() - 1), None);
    assert_eq!(at(&reader, kept.ends().unwrap()), Some(TokenFault::Expired), "also from memory");
    // Another policy remembers nothing of it: other keys, other audiences.
    let bank = TokenProvider { audiences: vec!["bank".into()], ..provider() };
    assert_eq!(at(&self::reader(vec![bank]).unwrap(), NOW), Some(TokenFault::Audience));
    let other_key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": part([9; 32])}]});
    let stale = TokenProvider { jwks: other_key.to_string(), ..provider() };
    assert_eq!(at(&self::reader(vec![stale]).unwrap(), NOW), Some(TokenFault::Signature));
}

#[test]
fn what_the_application_is_told_comes_from_the_token_alone() {
    let claims =
        r#"{"iss":"https://id.example","aud":"shop","sub":"J\u00f6","bad":"a\r\nx-admin: 1","n":1.5}"#;
    let names = ["sub", "bad", "n", "none"].map(|claim| (format!("x-{claim}"), vec![claim.to_owned()]));
    let provider =
        TokenProvider { claim_headers: names.into(), payload_header: Some("x-payload".into()), ..provider() };
    let reader = reader(vec![provider]).unwrap();
    let token = signed("EdDSA", r#"{"alg":"EdDSA"}"#, claims);
    let forged = || {
        let mut headers = HeaderMap::new();
        for name in ["x-sub", "x-sub", "x-bad", "x-none", "x-payload", "x-other"] {
            headers.append(name, HeaderValue::from_static("admin"));
        }
        headers
    };
    let mut headers = forged();
    reader.pass_on(None, &mut headers, &mut None);
    assert_eq!(headers.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["x-other"]);

    let Judged::Valid(bearer) = judge(&reader, &token) else { panic!() };
    let mut headers = forged();
    headers.append("authorization", format!("bearer {token}").parse().unwrap());
    headers.append("authorization", HeaderValue::from_static("Basic am86"));
    reader.pass_on(Some(&bearer), &mut headers, &mut None);
    let said = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    assert_eq!(said("x-sub"), ["J\u{f6}".as_bytes()]);
    assert_eq!((said("x-n"), said("x-payload")), (vec![&b"1.5"[..]], vec![part(claims).as_bytes()]));
    assert_eq!((said("x-bad").len(), said("x-none").len()), (0, 0), "nothing can be smuggled in");
    assert_eq!(said("authorization"), [b"Basic am86"], "the token is gone, whatever its case");
}

#[test]
fn a_body_that_would_tell_in_framing_fields_or_has_no_keys_is_refused() {
    for name in ["host", "content-length", "connection", "a b", "transfer-encoding", "x-weft-peer"] {
        let telling = TokenProvider { payload_header: Some(name.into()), ..provider() };
        assert!(matches!(reader(vec![telling]), Err(BuildError::IllegalText { .. })), "{name}");
    }
    for jwks in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#] {
        let keyless = TokenProvider { jwks: jwks.into(), ..provider() };
        assert!(matches!(reader(vec![keyless]), Err(BuildError::KeySet { .. })), "{jwks}");
    }
    let identity: SpiffeId = "spiffe://td/ns/a/sa/b".parse().unwrap();
    let body = Body::new("mesh", "a/b".into(), identity);
    let missing = TokenReader::compile(&body, &["a/x".into()], &|| "inbound port 80".into()).unwrap_err();
    assert_eq!(missing.to_string(), "inbound port 80: there is no token provider `a/x`");
}

#[test]
fn the_names_of_faults_are_in_their_places() {
    let all = [
        TokenFault::Several,
        TokenFault::TooLong,
        TokenFault::Malformed,
        TokenFault::NoAlgorithm,
        TokenFault::Critical,
        TokenFault::Algorithm(String::new()),
        TokenFault::Time("exp"),
        TokenFault::Issuer(String::new()),
        TokenFault::NoKey { issuer: String::new(), algorithm: String::new(), key_id: None },
        TokenFault::Signature,
        TokenFault::Audience,
        TokenFault::Expired,
        TokenFault::Early,
    ];
    assert!(all.iter().map(TokenFault::place).eq(0..TokenFault::NAMES.len()));
}
