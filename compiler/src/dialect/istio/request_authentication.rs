//! `RequestAuthentication` (iapi:security/v1beta1/request_authentication.proto).

use serde::Deserialize;

use super::selector::{self, TargetReference, WorkloadSelector};
use crate::diagnostic::Diagnostic;
use crate::dialect::NOT_SUPPORTED;
use crate::dialect::check::Checker;
use crate::dialect::jwks::KeySet;
use crate::yaml::{Span, Spanned, Unread};

/// `RequestAuthentication.spec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestAuthentication {
    /// The workloads that it is for; all of its namespace if nothing says otherwise, and of the mesh in the root
    /// namespace.
    pub selector: Option<Spanned<WorkloadSelector>>,
    /// The older form of `targetRefs`, for one target.
    pub target_ref: Option<Spanned<TargetReference>>,
    /// The objects that it is for.
    #[serde(default)]
    pub target_refs: Vec<Spanned<TargetReference>>,
    /// The issuers whose tokens are read.
    #[serde(default)]
    pub jwt_rules: Vec<Spanned<JwtRule>>,
}

/// `JWTRule`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtRule {
    /// The issuer.
    pub issuer: Option<Spanned<String>>,
    /// Audiences of which a token must have one; any if empty.
    #[serde(default)]
    pub audiences: Vec<Spanned<String>>,
    /// Not honoured: keys are pinned in the repository.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: Option<Unread>,
    /// The keys, as JSON.
    pub jwks: Option<Spanned<String>>,
    /// Header fields that carry tokens.
    #[serde(default)]
    pub from_headers: Vec<Spanned<JwtHeader>>,
    /// Query parameters that carry tokens.
    #[serde(default)]
    pub from_params: Vec<Spanned<String>>,
    /// Cookies that carry tokens.
    #[serde(default)]
    pub from_cookies: Vec<Spanned<String>>,
    /// The header field that carries the payload to the application.
    pub output_payload_to_header: Option<Spanned<String>>,
    /// Whether the token stays in the request.
    pub forward_original_token: Option<Spanned<bool>>,
    /// Claims that are carried to the application.
    #[serde(default)]
    pub output_claim_to_headers: Vec<Spanned<ClaimToHeader>>,
    /// Not honoured: nothing is fetched.
    pub timeout: Option<Unread>,
    /// Claims that are lists written as text with spaces.
    #[serde(default)]
    pub space_delimited_claims: Vec<Spanned<String>>,
}

/// `JWTHeader`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtHeader {
    /// The name of the field.
    pub name: Spanned<String>,
    /// What comes before the token.
    pub prefix: Option<Spanned<String>>,
}

/// `ClaimToHeader`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimToHeader {
    /// The name of the field.
    pub header: Spanned<String>,
    /// The claim; `a.b` is `b` in the object `a`.
    pub claim: Spanned<String>,
}

impl RequestAuthentication {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        selector::check(spec.selector.as_ref(), spec.target_ref.as_ref(), &spec.target_refs, checker);
        for rule in &spec.jwt_rules {
            rule.check(rule.span, checker);
        }
    }
}

impl JwtRule {
    /// Istio's own validation (istio:pkg/config/validation, `validateJwtRule`), and keys that are there.
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        match &self.issuer {
            Some(issuer) if issuer.is_empty() => checker.invalid(issuer.span, "`issuer` is empty"),
            Some(_) => {}
            None => checker.invalid(span, "the rule names no `issuer`"),
        }
        for (texts, what) in [
            (&self.audiences, "an audience"),
            (&self.from_params, "a query parameter"),
            (&self.from_cookies, "a cookie"),
            (&self.space_delimited_claims, "a claim"),
        ] {
            for text in texts.iter().filter(|text| text.is_empty()) {
                checker.invalid(text.span, format!("{what} has a name"));
            }
        }
        self.check_keys(span, checker);
        for header in &self.from_headers {
            checker.header_name(&header.name);
        }
        if let Some(name) = &self.output_payload_to_header {
            checker.told_header(name);
        }
        for claim in &self.output_claim_to_headers {
            checker.told_header(&claim.header);
            if claim.claim.split('.').any(str::is_empty) {
                checker.invalid(claim.claim.span, "a claim has a name");
            }
        }
        let headers = self.output_claim_to_headers.iter();
        checker.unique(headers.map(|c| (c.header.to_ascii_lowercase(), c.header.span)), |name| {
            format!("two claims are carried by `{name}`")
        });
        if let Some(timeout) = &self.timeout {
            checker.report(
                Diagnostic::error(NOT_SUPPORTED, "`timeout` is not supported")
                    .at(timeout.span)
                    .label("would have no effect")
                    .with_note("keys are pinned in the repository, so nothing is fetched")
                    .help("remove it"),
            );
        }
    }

    fn check_keys(&self, span: Span, checker: &mut Checker<'_>) {
        let pinned =
            "paste the key set into `jwks`, or write a Weft TokenProvider with `jwks: { file: keys.jwks }`";
        match (&self.jwks_uri, &self.jwks) {
            (Some(uri), _) => checker.report(
                Diagnostic::error(
                    NOT_SUPPORTED,
                    "`jwksUri` is not supported: keys are pinned in the repository",
                )
                .at(uri.span)
                .with_note(
                    "nothing is fetched because a policy says so, and who holds the keys decides who gets in",
                )
                .help(pinned),
            ),
            (None, None) => checker.report(
                Diagnostic::error(NOT_SUPPORTED, "the rule names no keys, and none are looked for")
                    .at(span)
                    .with_note("Istio would ask the issuer for them")
                    .help(pinned),
            ),
            (None, Some(jwks)) => {
                if let Err(error) = KeySet::parse(jwks.as_bytes()) {
                    checker.invalid(jwks.span, format!("`jwks` is refused: {error}"));
                }
            }
        }
    }
}
