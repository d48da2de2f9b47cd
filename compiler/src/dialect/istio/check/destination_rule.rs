//! What can be wrong with a DestinationRule by itself.

use super::{exclusive, export_to, labels, no_effect, one_host};
use crate::dialect::check::Checker;
use crate::dialect::istio::destination_rule::{
    ClientTls, ConnectionPoolSettings, ConsistentHash, DestinationRule, Distribute, H2UpgradePolicy,
    LoadBalancerSettings, LocalityLbSetting, OutlierDetection, RetryBudget, SimpleLb, TlsMode, TrafficPolicy,
    Warmup,
};
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl DestinationRule {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        one_host(&spec.host, checker);
        export_to(&spec.export_to, checker);
        if let Some(selector) = &spec.workload_selector {
            if selector.match_labels.is_empty() {
                checker.invalid_because(
                    selector.span,
                    "the selector names no labels",
                    "add `matchLabels`, or leave `workloadSelector` out to rule every caller",
                );
            }
            labels(&selector.match_labels, selector.span, checker);
            if let Some(scope) = spec.export_to.iter().find(|scope| scope.value != ".") {
                let why = "a rule with a `workloadSelector` is for its own namespace only";
                no_effect(scope.span, "exportTo", why, checker);
            }
        }
        if let Some(policy) = &spec.traffic_policy {
            policy.check(policy.span, checker);
        }
        for subset in &spec.subsets {
            checker.label(&subset.name, "a subset");
            labels(&subset.labels, subset.span, checker);
            if let Some(policy) = &subset.traffic_policy {
                policy.check(policy.span, checker);
            }
        }
        checker.unique(spec.subsets.iter().map(|s| (&s.name.value, s.name.span)), |name| {
            format!("two subsets are called `{name}`")
        });
    }
}

impl TrafficPolicy {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let parts = [
            self.load_balancer.is_some(),
            self.connection_pool.is_some(),
            self.outlier_detection.is_some(),
            self.tls.is_some(),
            !self.port_level_settings.is_empty(),
            self.tunnel.is_some(),
            self.proxy_protocol.is_some(),
            self.retry_budget.is_some(),
        ];
        if !parts.contains(&true) {
            checker.invalid(span, "the policy sets nothing");
        }
        checker.not_yet(self.tunnel.as_ref(), "tunnel", "connections by CONNECT through another proxy");
        if let Some(budget) = &self.retry_budget {
            budget.check(checker);
        }
        balancer(self.load_balancer.as_ref(), self.outlier_detection.is_some(), checker);
        pool(self.connection_pool.as_ref(), checker);
        outliers(self.outlier_detection.as_ref(), checker);
        tls(self.tls.as_ref(), checker);
        for policy in &self.port_level_settings {
            match &policy.port {
                Some(port) => checker.port(Some(&port.number)),
                None => checker.invalid(policy.span, "a policy of a port names its `port`"),
            }
            let parts = [
                policy.load_balancer.is_some(),
                policy.connection_pool.is_some(),
                policy.outlier_detection.is_some(),
                policy.tls.is_some(),
            ];
            if !parts.contains(&true) {
                checker.invalid(policy.span, "the policy sets nothing");
            }
            balancer(policy.load_balancer.as_ref(), policy.outlier_detection.is_some(), checker);
            pool(policy.connection_pool.as_ref(), checker);
            outliers(policy.outlier_detection.as_ref(), checker);
            tls(policy.tls.as_ref(), checker);
        }
        let ports = self.port_level_settings.iter().filter_map(|policy| policy.port.as_ref());
        checker.unique(ports.map(|port| (port.number.value, port.span)), |port| {
            format!("two policies are for port {port}")
        });
    }
}

impl RetryBudget {
    fn check(&self, checker: &mut Checker<'_>) {
        if let Some(percent) = &self.percent {
            if !(0.0..=100.0).contains(&percent.value) {
                checker.invalid(
                    percent.span,
                    format!("{} is not a share from 0 to 100 per cent", percent.value),
                );
            } else if percent.value.fract() != 0.0 {
                checker.not_yet_at(percent.span, "percent", "budgets in parts of a per cent");
            }
        }
    }
}

fn balancer(settings: Option<&Spanned<LoadBalancerSettings>>, ejects: bool, checker: &mut Checker<'_>) {
    let Some(settings) = settings else { return };
    settings.check(settings.span, ejects, checker);
}

impl LoadBalancerSettings {
    fn check(&self, span: Span, ejects: bool, checker: &mut Checker<'_>) {
        if let Some(simple) = &self.simple
            && simple.value == SimpleLb::Passthrough
        {
            let needs = "balancing that differs from how endpoints are found; a ServiceEntry with `resolution: NONE` \
                         forwards to the address that the caller chose";
            checker.not_yet_at(simple.span, "PASSTHROUGH", needs);
        }
        if let (Some(simple), Some(hash)) = (&self.simple, &self.consistent_hash) {
            exclusive(("simple", simple.span), ("consistentHash", hash.span), checker);
        }
        let parts = [
            self.simple.is_some(),
            self.consistent_hash.is_some(),
            self.locality_lb_setting.is_some(),
            self.warmup.is_some(),
            self.warmup_duration_secs.is_some(),
        ];
        if !parts.contains(&true) {
            checker.invalid(span, "it does not say how endpoints are chosen");
        }
        if let Some(hash) = &self.consistent_hash {
            hash.check(hash.span, checker);
        }
        if let Some(locality) = &self.locality_lb_setting {
            locality.check(locality.span, ejects, checker);
        }
        if let (Some(old), Some(new)) = (&self.warmup_duration_secs, &self.warmup) {
            exclusive(("warmup", new.span), ("warmupDurationSecs", old.span), checker);
        }
        if let Some(warmup) = &self.warmup {
            warmup.check(warmup.span, checker);
        }
    }
}

/// A Maglev table is below this size in Envoy.
const MAX_TABLE: u32 = 5_000_011;

fn is_prime(number: u32) -> bool {
    let end = number.isqrt();
    number > 1 && (2..=end).all(|factor| !number.is_multiple_of(factor))
}

impl ConsistentHash {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let source = self.use_source_ip.as_ref().filter(|used| used.value);
        let keys = [
            self.http_header_name.as_ref().map(|key| ("httpHeaderName", key.span)),
            self.http_cookie.as_ref().map(|key| ("httpCookie", key.span)),
            source.map(|key| ("useSourceIp", key.span)),
            self.http_query_parameter_name.as_ref().map(|key| ("httpQueryParameterName", key.span)),
        ];
        match keys.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            [] => checker.invalid_because(
                span,
                "the hash is of nothing",
                "name `httpHeaderName`, `httpCookie`, `useSourceIp: true` or `httpQueryParameterName`",
            ),
            [first, second, ..] => exclusive(*first, *second, checker),
            [_] => {}
        }
        let tables = [
            self.ring_hash.as_ref().map(|table| ("ringHash", table.span)),
            self.maglev.as_ref().map(|table| ("maglev", table.span)),
            self.minimum_ring_size.as_ref().map(|table| ("minimumRingSize", table.span)),
        ];
        if let [first, second, ..] = tables.into_iter().flatten().collect::<Vec<_>>().as_slice() {
            exclusive(*first, *second, checker);
        }
        if let Some(name) = &self.http_header_name {
            checker.header_name(name);
        }
        if let Some(cookie) = &self.http_cookie {
            if cookie.name.is_empty() {
                checker.invalid(cookie.name.span, "a cookie has a name");
            }
            checker.not_yet(cookie.attributes.as_ref(), "attributes", "cookies with attributes");
        }
        if let Some(size) = self.maglev.and_then(|maglev| maglev.table_size)
            && (size.value >= MAX_TABLE || !is_prime(size.value))
        {
            checker.invalid(size.span, format!("{size} is not a prime below {MAX_TABLE}"));
        }
    }
}

impl LocalityLbSetting {
    /// istio:pkg/config/validation/agent, `ValidateLocalityLbSetting`.
    fn check(&self, span: Span, ejects: bool, checker: &mut Checker<'_>) {
        let distribute = self.distribute.first().map(|first| ("distribute", first.span));
        let failover = self.failover.first().map(|first| ("failover", first.span));
        let priority = self.failover_priority.first().map(|first| ("failoverPriority", first.span));
        for other in [failover, priority].into_iter().flatten() {
            if let Some(distribute) = distribute {
                exclusive(distribute, other, checker);
            }
        }
        if (failover.is_some() || priority.is_some()) && !ejects {
            let why = "without `outlierDetection` no endpoint is ever found unhealthy, so nothing fails over";
            no_effect(span, "localityLbSetting", why, checker);
        }
        for distribute in &self.distribute {
            distribute.check(distribute.span, checker);
        }
        checker.unique(self.distribute.iter().map(|d| (&d.from.value, d.from.span)), |from| {
            format!("`{from}` is given twice")
        });
        for failover in &self.failover {
            if failover.from.value == failover.to.value {
                checker.invalid(failover.to.span, "a region cannot take the place of itself");
            }
            for region in [&failover.from, &failover.to] {
                if region.is_empty() || region.contains(['*', '/']) {
                    checker.invalid(region.span, format!("`{}` is not a region", Short(region)));
                }
            }
        }
        checker.unique(self.failover.iter().map(|f| (&f.from.value, f.from.span)), |from| {
            format!("`{from}` is given twice")
        });
        for label in self.failover_priority.iter().filter(|label| label.contains('=')) {
            let needs = "labels with values of their own; here endpoints are compared with the caller";
            checker.not_yet_at(label.span, "failoverPriority", needs);
        }
    }
}

impl Distribute {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let place = |text: &str| {
            let parts: Vec<&str> = text.split('/').collect();
            let star = parts.iter().position(|part| *part == "*");
            let last = star.is_none_or(|star| star + 1 == parts.len());
            last && parts.len() <= 3
                && parts.iter().all(|part| !part.is_empty() && (*part == "*" || !part.contains('*')))
        };
        let places = self.to.iter().map(|(place, _)| place).chain([&self.from]);
        for text in places.filter(|text| !place(text)) {
            checker.invalid_because(
                text.span,
                format!("`{}` is not a place", Short(text)),
                "write `region/zone/subzone`, with a `*` for all below",
            );
        }
        let sum: u64 = self.to.iter().map(|(_, share)| u64::from(share.value)).sum();
        if sum != 100 {
            checker.invalid(span, format!("the shares sum to {sum} instead of 100"));
        }
    }
}

impl Warmup {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        match &self.duration {
            None => checker.invalid(span, "a warm-up has a `duration`"),
            Some(duration) if duration.is_zero() => {
                checker.invalid(duration.span, "a warm-up takes at least `1ms`");
            }
            Some(_) => {}
        }
        if let Some(percent) = &self.minimum_percent {
            if !(0.0..=100.0).contains(&percent.value) {
                checker.invalid(
                    percent.span,
                    format!("{} is not a share from 0 to 100 per cent", percent.value),
                );
            } else if percent.value.fract() != 0.0 {
                checker.not_yet_at(percent.span, "minimumPercent", "shares in parts of a per cent");
            }
        }
        if let Some(aggression) = &self.aggression
            && !(1.0..=1000.0).contains(&aggression.value)
        {
            checker.invalid(aggression.span, format!("{} is not from 1 to 1000", aggression.value));
        }
    }
}

pub(super) fn pool(pool: Option<&Spanned<ConnectionPoolSettings>>, checker: &mut Checker<'_>) {
    let Some(pool) = pool else { return };
    if pool.tcp.is_none() && pool.http.is_none() {
        checker.invalid(pool.span, "a pool needs `tcp` or `http`");
    }
    let Some(http) = &pool.http else { return };
    let client = http.use_client_protocol.as_ref().filter(|used| used.value);
    if let Some(client) = client {
        let needs = "choosing the version of HTTP by each request; here a port says what is spoken on it";
        checker.not_yet_at(client.span, "useClientProtocol", needs);
    }
    let upgrade = http.h2_upgrade_policy.as_ref().filter(|policy| policy.value == H2UpgradePolicy::Upgrade);
    if let (Some(client), Some(upgrade)) = (client, upgrade) {
        exclusive(("useClientProtocol", client.span), ("h2UpgradePolicy", upgrade.span), checker);
    }
}

fn outliers(outliers: Option<&Spanned<OutlierDetection>>, checker: &mut Checker<'_>) {
    let Some(outliers) = outliers else { return };
    let removed =
        "a field that Istio still has; `consecutiveGatewayErrors` and `consecutive5xxErrors` replace it";
    checker.not_yet(outliers.consecutive_errors.as_ref(), "consecutiveErrors", removed);
    let splits = outliers.split_external_local_origin_errors.is_some_and(|split| split.value);
    if let Some(failures) = outliers.consecutive_local_origin_failures.filter(|count| count.value > 0)
        && !splits
    {
        checker.invalid_because(
            failures.span,
            "failures that are not answers are not counted apart",
            "add `splitExternalLocalOriginErrors: true`",
        );
    }
    for time in [outliers.interval, outliers.base_ejection_time].into_iter().flatten() {
        if time.is_zero() {
            checker.invalid(time.span, "the time is at least `1ms`");
        }
    }
    for percent in [outliers.max_ejection_percent, outliers.min_health_percent].into_iter().flatten() {
        if percent.value > 100 {
            checker.invalid(percent.span, format!("{percent} is not a share from 0 to 100 per cent"));
        }
    }
}

fn tls(tls: Option<&Spanned<ClientTls>>, checker: &mut Checker<'_>) {
    let Some(tls) = tls else { return };
    let needs = "certificates and keys at paths of the proxy's machine; name them by `credentialName`";
    checker.not_yet(tls.client_certificate.as_ref(), "clientCertificate", needs);
    checker.not_yet(tls.private_key.as_ref(), "privateKey", needs);
    checker.not_yet(tls.ca_crl.as_ref(), "caCrl", "lists of revoked certificates");
    let mode = tls.mode.map(|mode| mode.value);
    let foreign = [
        tls.credential_name.as_ref().map(|field| ("credentialName", field.span)),
        tls.ca_certificates.as_ref().map(|field| ("caCertificates", field.span)),
        tls.insecure_skip_verify
            .as_ref()
            .filter(|skip| skip.value)
            .map(|field| ("insecureSkipVerify", field.span)),
        tls.subject_alt_names.first().map(|field| ("subjectAltNames", field.span)),
        tls.sni.as_ref().map(|field| ("sni", field.span)),
    ];
    match mode {
        Some(TlsMode::Simple) => {
            if let Some(name) = &tls.credential_name {
                let needs = "certificates to believe from a Secret; put them into a file of the repository, and name it \
                             by `caCertificates`";
                checker.not_yet_at(name.span, "credentialName", needs);
            }
        }
        Some(TlsMode::Mutual) if tls.credential_name.is_none() && tls.client_certificate.is_none() => {
            checker.invalid_because(
                tls.span,
                "mutual TLS presents a certificate, and none is named",
                "add `credentialName`; the proxy has the files under that name",
            );
        }
        Some(TlsMode::Mutual) => {}
        Some(TlsMode::Disable | TlsMode::IstioMutual) | None => {
            for (name, span) in foreign.into_iter().flatten() {
                let message = format!("`{name}` has no meaning in this mode");
                checker.invalid_because(span, message, "it belongs to `SIMPLE` and `MUTUAL`");
            }
        }
    }
}
