//! What can be wrong with filters by themselves (gwapi:apis/v1/httproute_types.go, `HTTPRouteFilter`).

use super::super::filter::{
    Cors, Filter, FilterType, Fraction, Header, HeaderModifier, Origin, PathModifier, PathModifierType,
    RequestMirror, RequestRedirect, UrlRewrite,
};
use crate::diagnostic::Diagnostic;
use crate::dialect::check::Checker;
use crate::yaml::scalar::Short;
use crate::yaml::{INVALID_VALUE, MISSING_FIELD, Span, Spanned};

/// Which filters a kind of route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// All of them.
    Http,
    /// Those of calls: no redirects, rewrites or cross-origin answers.
    Grpc,
    /// None: there are no requests to change.
    Layer4,
}

/// The filters of a rule or a backend.
pub(super) fn check_filters(filters: &[Spanned<Filter>], allowed: Allowed, checker: &mut Checker<'_>) {
    checker.at_most(filters, 16, "filters");
    for filter in filters {
        filter.check(allowed, checker);
    }
    let once = filters
        .iter()
        .filter(|filter| !matches!(filter.kind.value, FilterType::RequestMirror | FilterType::ExtensionRef));
    checker.unique(once.map(|f| (f.kind.value, f.kind.span)), |kind| {
        format!("`{}` is given twice", kind.as_str())
    });
    let find = |kind| filters.iter().find(|filter| filter.kind.value == kind);
    if let (Some(redirect), Some(rewrite)) = (find(FilterType::RequestRedirect), find(FilterType::UrlRewrite))
    {
        checker.report(
            Diagnostic::error(INVALID_VALUE, "`RequestRedirect` and `URLRewrite` exclude each other")
                .at(rewrite.kind.span)
                .related(redirect.kind.span, "the redirect is here"),
        );
    }
}

impl Filter {
    fn check(&self, allowed: Allowed, checker: &mut Checker<'_>) {
        self.check_kind(allowed, checker);
        self.check_shape(checker);
        let needs = match self.kind.value {
            FilterType::ExternalAuth => Some("proxies that ask another service before they forward"),
            FilterType::ExtensionRef => Some("filters of our own, of which there are none"),
            FilterType::RequestHeaderModifier
            | FilterType::ResponseHeaderModifier
            | FilterType::RequestRedirect
            | FilterType::UrlRewrite
            | FilterType::RequestMirror
            | FilterType::Cors => None,
        };
        if let Some(needs) = needs {
            checker.not_yet_at(self.kind.span, self.kind.value.as_str(), needs);
        }
        for modifier in [&self.request_header_modifier, &self.response_header_modifier].into_iter().flatten()
        {
            modifier.check(checker);
        }
        if let Some(redirect) = &self.request_redirect {
            redirect.check(checker);
        }
        if let Some(rewrite) = &self.url_rewrite {
            rewrite.check(checker);
        }
        if let Some(mirror) = &self.request_mirror {
            mirror.check(checker);
        }
        if let Some(cors) = &self.cors {
            cors.check(cors.span, checker);
        }
    }

    fn check_kind(&self, allowed: Allowed, checker: &mut Checker<'_>) {
        let known = match self.kind.value {
            FilterType::RequestHeaderModifier
            | FilterType::ResponseHeaderModifier
            | FilterType::RequestMirror
            | FilterType::ExtensionRef => allowed != Allowed::Layer4,
            FilterType::RequestRedirect
            | FilterType::UrlRewrite
            | FilterType::Cors
            | FilterType::ExternalAuth => allowed == Allowed::Http,
        };
        if !known {
            let what = match allowed {
                Allowed::Http | Allowed::Grpc => "a GRPCRoute has no filter of type",
                Allowed::Layer4 => "routes of connections have no filters, such as",
            };
            checker.invalid(self.kind.span, format!("{what} `{}`", self.kind.value.as_str()));
        }
    }

    /// The field of the filter's type, and no other.
    fn check_shape(&self, checker: &mut Checker<'_>) {
        let fields = [
            (FilterType::RequestHeaderModifier, self.request_header_modifier.as_ref().map(|f| f.span)),
            (FilterType::ResponseHeaderModifier, self.response_header_modifier.as_ref().map(|f| f.span)),
            (FilterType::RequestRedirect, self.request_redirect.as_ref().map(|f| f.span)),
            (FilterType::UrlRewrite, self.url_rewrite.as_ref().map(|f| f.span)),
            (FilterType::RequestMirror, self.request_mirror.as_ref().map(|f| f.span)),
            (FilterType::Cors, self.cors.as_ref().map(|f| f.span)),
            (FilterType::ExternalAuth, self.external_auth.map(|f| f.span)),
            (FilterType::ExtensionRef, self.extension_ref.map(|f| f.span)),
        ];
        let kind = self.kind.value;
        for (other, place) in fields {
            match place {
                Some(place) if other != kind => checker.invalid(
                    place,
                    format!("`{}` is not a field of a filter of type `{}`", other.field(), kind.as_str()),
                ),
                None if other == kind => checker.report(
                    Diagnostic::error(MISSING_FIELD, format!("the filter has no `{}`", kind.field()))
                        .at(self.kind.span),
                ),
                Some(_) | None => {}
            }
        }
    }
}

impl FilterType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "RequestHeaderModifier",
            Self::ResponseHeaderModifier => "ResponseHeaderModifier",
            Self::RequestRedirect => "RequestRedirect",
            Self::UrlRewrite => "URLRewrite",
            Self::RequestMirror => "RequestMirror",
            Self::Cors => "CORS",
            Self::ExternalAuth => "ExternalAuth",
            Self::ExtensionRef => "ExtensionRef",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::RequestHeaderModifier => "requestHeaderModifier",
            Self::ResponseHeaderModifier => "responseHeaderModifier",
            Self::RequestRedirect => "requestRedirect",
            Self::UrlRewrite => "urlRewrite",
            Self::RequestMirror => "requestMirror",
            Self::Cors => "cors",
            Self::ExternalAuth => "externalAuth",
            Self::ExtensionRef => "extensionRef",
        }
    }
}

impl HeaderModifier {
    fn check(&self, checker: &mut Checker<'_>) {
        for (headers, what) in [(&self.set, "set"), (&self.add, "added")] {
            checker.at_most(headers, 16, "headers");
            for header in headers {
                header.check(checker);
            }
            checker.unique(headers.iter().map(|h| (h.name.to_lowercase(), h.name.span)), |name| {
                format!("`{name}` is {what} twice")
            });
        }
        checker.at_most(&self.remove, 16, "headers");
        for name in &self.remove {
            checker.header_name(name);
        }
        checker.unique(self.remove.iter().map(|n| (n.to_lowercase(), n.span)), |name| {
            format!("`{name}` is removed twice")
        });
    }
}

impl Header {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.header_name(&self.name);
        checker.header_value(&self.value);
    }
}

impl RequestRedirect {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.scheme(self.scheme.as_ref());
        checker.redirect_status(self.status_code.as_ref());
        checker.port(self.port.as_ref());
        if let Some(hostname) = &self.hostname {
            checker.subdomain(hostname, "a host");
        }
        if let Some(path) = &self.path {
            path.check(checker);
        }
    }
}

impl UrlRewrite {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(hostname) = &self.hostname {
            checker.subdomain(hostname, "a host");
        }
        if let Some(path) = &self.path {
            path.check(checker);
        }
    }
}

impl PathModifier {
    fn check(&self, checker: &mut Checker<'_>) {
        let (wanted, other, name, other_name) = match self.kind.value {
            PathModifierType::ReplaceFullPath => {
                (&self.replace_full_path, &self.replace_prefix_match, "replaceFullPath", "replacePrefixMatch")
            }
            PathModifierType::ReplacePrefixMatch => {
                (&self.replace_prefix_match, &self.replace_full_path, "replacePrefixMatch", "replaceFullPath")
            }
        };
        if let Some(other) = other {
            checker.invalid(
                other.span,
                format!("`{other_name}` is not the field of this type; that is `{name}`"),
            );
        }
        match wanted {
            Some(path) if path.is_empty() && name == "replacePrefixMatch" => {}
            Some(path) => checker.path(path),
            None => checker.report(
                Diagnostic::error(MISSING_FIELD, format!("the new path has no `{name}`")).at(self.kind.span),
            ),
        }
    }
}

impl RequestMirror {
    fn check(&self, checker: &mut Checker<'_>) {
        let backend = &self.backend_ref;
        backend.check_object(checker);
        if let Some(weight) = &backend.weight {
            checker.invalid(
                weight.span,
                "copies have no `weight`; `percent` or `fraction` says how many there are",
            );
        }
        if let Some(filter) = backend.filters.first() {
            checker.invalid(filter.span, "copies have no `filters`");
        }
        if let Some(percent) = self.percent.as_ref().filter(|percent| percent.value > 100) {
            checker.invalid(percent.span, format!("{percent} is more than 100 per cent"));
        }
        if let Some(fraction) = &self.fraction {
            fraction.check(checker);
        }
        if let (Some(percent), Some(fraction)) = (&self.percent, &self.fraction) {
            checker.report(
                Diagnostic::error(INVALID_VALUE, "`percent` and `fraction` exclude each other")
                    .at(fraction.span)
                    .related(percent.span, "the other one is here"),
            );
        }
    }
}

impl Fraction {
    fn check(&self, checker: &mut Checker<'_>) {
        let denominator = self.denominator.as_deref().copied().unwrap_or(100);
        let limit = i32::MAX.unsigned_abs();
        match &self.denominator {
            Some(zero) if zero.value == 0 => checker.invalid(zero.span, "a share of 0 is no share"),
            Some(huge) if huge.value > limit => {
                checker.invalid(huge.span, format!("{huge} is more than {limit}"));
            }
            Some(_) | None if self.numerator.value > denominator => {
                checker.invalid(
                    self.numerator.span,
                    format!("{} of {denominator} is more than everything", self.numerator),
                );
            }
            Some(_) | None => {}
        }
    }
}

impl Cors {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        for (list, what, limit) in [
            (&self.allow_origins, "origins", 64),
            (&self.allow_methods, "methods", 9),
            (&self.allow_headers, "headers", 64),
            (&self.expose_headers, "headers", 64),
        ] {
            checker.at_most(list, limit, what);
            checker.unique(list.iter().map(|item| (item.to_lowercase(), item.span)), |item| {
                format!("`{}` is there twice", Short(item))
            });
            if let Some(star) = list.iter().find(|item| item.value == "*").filter(|_| list.len() > 1) {
                checker.invalid(
                    star.span,
                    format!("`*` stands for all {what}, and is the only one of its list"),
                );
            }
        }
        if self.allow_origins.is_empty() {
            checker.invalid_because(
                span,
                "no origin may ask, so the filter does nothing",
                "list the origins in `allowOrigins`, or `*` for all",
            );
        }
        for origin in self.allow_origins.iter().filter(|origin| origin.value != "*") {
            if Origin::parse(origin).is_none() {
                checker.invalid_because(
                    origin.span,
                    format!("`{}` is not an origin", Short(origin)),
                    "write `https://host`, `https://host:port`, `https://*.host`, or `*` for all",
                );
            }
        }
        for method in self.allow_methods.iter().filter(|method| method.value != "*") {
            checker.standard_method(method);
        }
        for header in self.allow_headers.iter().chain(&self.expose_headers) {
            checker.header_name(header);
        }
        if let Some(age) = self.max_age.as_ref().filter(|age| age.value == 0) {
            checker.invalid(age.span, "`maxAge` is at least 1 second");
        }
    }
}
