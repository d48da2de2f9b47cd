//! What can be wrong with a DestinationRule by itself.

use super::{export_to, host};
use crate::dialect::check::Checker;
use crate::dialect::istio::destination_rule::{
    ClientTls, DestinationRule, LoadBalancerSettings, SimpleLb, TlsMode, TrafficPolicy,
};
use crate::yaml::{Span, Spanned};

impl DestinationRule {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        host(&spec.host, checker);
        checker.not_yet(
            spec.workload_selector.as_ref(),
            "workloadSelector",
            "bundles that differ within a service",
        );
        export_to(&spec.export_to, checker);
        for scope in spec.export_to.iter().filter(|scope| scope.value != "*") {
            checker.not_yet_at(scope.span, "exportTo", "subsets and balancing that differ between callers");
        }
        if let Some(policy) = &spec.traffic_policy {
            policy.check(checker);
        }
        for subset in &spec.subsets {
            checker.label(&subset.name, "a subset");
            if let Some(policy) = &subset.traffic_policy {
                policy.check(checker);
            }
        }
        checker.unique(spec.subsets.iter().map(|s| (&s.name.value, s.name.span)), |name| {
            format!("two subsets are called `{name}`")
        });
    }
}

impl TrafficPolicy {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.connection_pool.as_ref(),
            "connectionPool",
            "proxies that bound what is in flight",
        );
        checker.not_yet(
            self.outlier_detection.as_ref(),
            "outlierDetection",
            "proxies that leave endpoints out",
        );
        checker.not_yet(
            self.port_level_settings.as_ref(),
            "portLevelSettings",
            "traffic policies of single ports",
        );
        checker.not_yet(self.tunnel.as_ref(), "tunnel", "tunnels through other proxies");
        checker.not_yet(self.proxy_protocol.as_ref(), "proxyProtocol", "the PROXY protocol");
        checker.not_yet(self.retry_budget.as_ref(), "retryBudget", "Istio's own reckoning of retry budgets");
        if let Some(balancer) = &self.load_balancer {
            balancer.check(balancer.span, checker);
        }
        if let Some(tls) = &self.tls {
            tls.check(tls.span, checker);
        }
    }
}

impl LoadBalancerSettings {
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_yet(
            self.consistent_hash.as_ref(),
            "consistentHash",
            "proxies that keep callers together",
        );
        checker.not_yet(self.locality_lb_setting.as_ref(), "localityLbSetting", "balancing by locality");
        checker.not_yet(self.warmup_duration_secs.as_ref(), "warmupDurationSecs", "slow start");
        checker.not_yet(self.warmup.as_ref(), "warmup", "slow start");
        match &self.simple {
            Some(simple) if simple.value == SimpleLb::Passthrough => {
                checker.not_yet_at(
                    simple.span,
                    "PASSTHROUGH",
                    "forwarding to addresses that the caller chose",
                );
            }
            Some(_) => {}
            None if self.consistent_hash.is_none() => {
                checker.invalid(span, "it does not say how endpoints are chosen");
            }
            None => {}
        }
    }
}

impl ClientTls {
    /// Between sidecars there is always mutual TLS with the mesh's identities, as the Mesh says; nothing else can be
    /// asked for here.
    fn check(&self, span: Span, checker: &mut Checker<'_>) {
        let needs = "TLS settings per destination; between sidecars the Mesh's `peerTLS` decides";
        match &self.mode {
            Some(mode) if mode.value == TlsMode::IstioMutual => {}
            Some(mode) => checker.not_yet_at(mode.span, "tls.mode", needs),
            None => checker.not_yet_at(span, "tls", needs),
        }
        let fields = [
            (&self.client_certificate, "clientCertificate"),
            (&self.private_key, "privateKey"),
            (&self.ca_certificates, "caCertificates"),
            (&self.ca_crl, "caCrl"),
            (&self.credential_name, "credentialName"),
            (&self.subject_alt_names, "subjectAltNames"),
            (&self.sni, "sni"),
            (&self.insecure_skip_verify, "insecureSkipVerify"),
        ];
        for (field, name) in fields {
            checker.not_yet(field.as_ref(), name, needs);
        }
    }
}
