//! What can be wrong with a ServiceEntry, a WorkloadEntry or a WorkloadGroup by itself.

use std::net::IpAddr;

use weft_bundle::body::Protocol;

use super::{exclusive, export_to, host, labels};
use crate::dialect::check::{Checker, is_subdomain};
use crate::dialect::istio::service_entry::{
    EntryPort, LabelSelector, Location, Resolution, ServiceEntry, WorkloadEntry, WorkloadGroup,
};
use crate::yaml::scalar::Short;
use crate::yaml::{Span, Spanned};

impl ServiceEntry {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        if spec.hosts.is_empty() {
            checker.invalid(spec.span, "`hosts` is empty, so nobody can call it");
        }
        for name in &spec.hosts {
            host(name, checker);
            if name.value == "*" {
                checker.invalid(name.span, "a ServiceEntry names its hosts, and `*` is every one");
            }
        }
        checker
            .unique(spec.hosts.iter().map(|h| (&h.value, h.span)), |name| format!("`{name}` is given twice"));
        spec.check_ports(spec.span, checker);
        spec.check_resolution(spec.span, checker);
        if let (Some(selector), Some(endpoint)) = (&spec.workload_selector, spec.endpoints.first()) {
            exclusive(("workloadSelector", selector.span), ("endpoints", endpoint.span), checker);
        }
        if let Some(selector) = &spec.workload_selector {
            selector.check(selector.span, checker);
        }
        for endpoint in &spec.endpoints {
            endpoint.check_entry(endpoint.span, checker);
        }
        // `~` is nobody, and alone.
        match spec.export_to.as_slice() {
            [nobody] if nobody.value == "~" => {}
            scopes => export_to(scopes, checker),
        }
        let internal = spec.location.is_some_and(|location| location.value == Location::MeshInternal);
        if let Some(name) =
            spec.subject_alt_names.first().filter(|name| internal && !name.starts_with("spiffe://"))
        {
            checker.invalid_because(
                name.span,
                format!("`{}` is not the identity of a workload", Short(name)),
                "workloads of the mesh prove who they are by a `spiffe://` id",
            );
        }
    }

    fn check_ports(&self, span: Span, checker: &mut Checker<'_>) {
        if self.ports.is_empty() {
            checker.invalid(span, "`ports` is empty, so nobody can call it");
        }
        for port in &self.ports {
            port.check(checker);
        }
        checker.unique(self.ports.iter().map(|p| (&p.name.value, p.name.span)), |name| {
            format!("two ports are called `{name}`")
        });
        checker.unique(self.ports.iter().map(|p| (p.number.value, p.number.span)), |number| {
            format!("two ports have the number {number}")
        });
        let plain = |port: &&Spanned<EntryPort>| port.spoken() == Some(Protocol::Tcp);
        if let Some(port) = self.ports.iter().find(plain).filter(|_| self.addresses.is_empty())
            && self.hosts.iter().any(|host| host.contains('*'))
        {
            checker.invalid_because(
                port.span,
                "connections that say no name are told apart by address only, and there is none",
                "add `addresses`, or declare the protocol as `TLS` or `HTTP`",
            );
        }
    }

    /// istio:pkg/config/validation, `ValidateServiceEntry`.
    fn check_resolution(&self, span: Span, checker: &mut Checker<'_>) {
        let resolution = self.resolution.map_or(Resolution::None, |resolution| resolution.value);
        let place = self.resolution.map_or(span, |resolution| resolution.span);
        let wildcard = self.hosts.iter().find(|host| host.contains('*'));
        match resolution {
            Resolution::None => {
                if let Some(endpoint) = self.endpoints.first() {
                    checker.invalid_because(
                        endpoint.span,
                        "`resolution: NONE` goes where the caller wanted to, and looks at no endpoints",
                        "write `resolution: STATIC` or `DNS`",
                    );
                }
            }
            Resolution::Static => {
                if self.endpoints.is_empty() && self.workload_selector.is_none() {
                    checker.invalid_because(
                        place,
                        "`resolution: STATIC` has no endpoints",
                        "add `endpoints` or `workloadSelector`",
                    );
                }
                for address in self.endpoints.iter().filter_map(|endpoint| endpoint.address.as_ref()) {
                    if address.parse::<IpAddr>().is_err() {
                        checker.invalid_because(
                            address.span,
                            format!("`{}` is not an IP address", Short(address)),
                            "`resolution: STATIC` looks no names up; write `DNS` to do so",
                        );
                    }
                }
            }
            Resolution::Dns => {
                if let Some(host) = wildcard.filter(|_| self.endpoints.is_empty()) {
                    checker.invalid_because(
                        host.span,
                        format!("`{}` cannot be looked up", Short(host)),
                        "add `endpoints`, or write `resolution: NONE`",
                    );
                }
                self.check_names(checker);
            }
            Resolution::DnsRoundRobin => {
                let needs = "connecting to the first address of each answer only; `DNS` uses all of them";
                checker.not_yet_at(place, "resolution: DNS_ROUND_ROBIN", needs);
            }
            Resolution::DynamicDns => {
                let needs = "looking up whatever name a caller asks for";
                checker.not_yet_at(place, "resolution: DYNAMIC_DNS", needs);
            }
        }
    }

    /// One name is looked up; it stands for all its addresses alike.
    fn check_names(&self, checker: &mut Checker<'_>) {
        let is_name = |address: &&Spanned<String>| address.parse::<IpAddr>().is_err();
        let addresses = || self.endpoints.iter().filter_map(|endpoint| endpoint.address.as_ref());
        let names: Vec<_> = addresses().filter(is_name).collect();
        if let (Some(name), true) = (names.first(), self.endpoints.len() > 1) {
            checker.not_yet_at(name.span, "several endpoints", "looking up one name beside other endpoints");
        }
        for endpoint in &self.endpoints {
            let named = endpoint.address.as_ref().is_some_and(|address| is_name(&address));
            if named && !endpoint.labels.is_empty() {
                checker.not_yet_at(endpoint.span, "labels", "labels on all addresses of a name");
            }
        }
    }
}

impl EntryPort {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.port(Some(&self.number));
        checker.port(self.target_port.as_ref());
        checker.label(&self.name, "a port");
        if let Some(protocol) = &self.protocol
            && self.spoken().is_none()
        {
            checker.invalid_because(
                protocol.span,
                format!("`{}` is not a protocol", Short(protocol)),
                "protocols are HTTP, HTTP2, GRPC, HTTPS, TLS, TCP and UDP",
            );
        }
    }
}

impl LabelSelector {
    pub(super) fn check(&self, span: Span, checker: &mut Checker<'_>) {
        labels(&self.labels, span, checker);
    }
}

impl WorkloadEntry {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        spec.check_entry(spec.span, checker);
    }

    fn check_entry(&self, span: Span, checker: &mut Checker<'_>) {
        match &self.address {
            None => checker.invalid(span, "a workload has an `address`"),
            Some(address) if address.starts_with("unix://") => {
                checker.not_yet_at(address.span, "address", "upstreams at Unix sockets");
            }
            Some(address) if address.parse::<IpAddr>().is_err() && !is_subdomain(address) => {
                checker.invalid(address.span, format!("`{}` is not an address", Short(address)));
            }
            Some(_) => {}
        }
        self.check_rest(span, checker);
    }

    fn check_rest(&self, span: Span, checker: &mut Checker<'_>) {
        checker.not_yet(self.network.as_ref(), "network", "gateways between networks");
        labels(&self.labels, span, checker);
        for (name, number) in &self.ports {
            checker.label(name, "a port");
            checker.port(Some(number));
        }
        if let Some(account) = &self.service_account {
            checker.subdomain(account, "a service account");
        }
        if let Some(weight) = self.weight.filter(|weight| weight.value == 0) {
            checker.invalid_because(
                weight.span,
                "an endpoint with weight 0 gets nothing",
                "remove the endpoint",
            );
        }
    }
}

impl WorkloadGroup {
    pub(in crate::dialect) fn check(spec: &Spanned<Self>, checker: &mut Checker<'_>) {
        checker.not_yet(spec.probe.as_ref(), "probe", "health checks that a control plane hands out");
        if let Some(address) = &spec.template.address {
            checker.invalid_because(
                address.span,
                "the template of a group has no `address`",
                "each machine has its own, in a WorkloadEntry",
            );
        }
        spec.template.check_rest(spec.template.span, checker);
        let why = "machines register themselves with Istio's control plane, and here is none; WorkloadEntries say where they are";
        super::no_effect(spec.span, "WorkloadGroup", why, checker);
    }
}
