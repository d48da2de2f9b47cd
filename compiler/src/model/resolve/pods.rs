//! Pods: what the documents of a cluster say of the workloads behind Services. Their labels, accounts and ports come from
//! the templates of Deployments and other kinds that make pods, and from Pods themselves.
//!
//! A Service has the workloads that its `selector` selects. If there is one in the documents, all of them are taken to be
//! there. A label that a template does not have, its pods do not have.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weft_bundle::spiffe::SpiffeId;

use super::Context;
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::dialect::kubernetes::workload::{ContainerPort, DEFAULT_ACCOUNT, PodSpec};
use crate::dialect::{Kind, NOT_SUPPORTED, ParsedDocument};
use crate::model::{Accounts, Mesh, Workload};
use crate::yaml::{INVALID_VALUE, Span, Spanned};

/// Pods that are alike: those of a template, or one of its own. One that has come to its end is none.
pub(super) struct PodSet<'d> {
    pub(super) document: &'d ParsedDocument,
    pub(super) labels: &'d BTreeMap<String, String>,
    pub(super) spec: &'d PodSpec,
    /// Of a Pod that may be called.
    pub(super) address: Option<IpAddr>,
}

impl<'d> PodSet<'d> {
    fn of(document: &'d ParsedDocument) -> Option<Self> {
        Some(match &document.spec {
            Kind::Workload(workload) if !workload.is_over => {
                let template = &workload.template;
                let labels = &template.metadata.labels;
                Self { document, labels, spec: &template.spec, address: None }
            }
            Kind::Pod(pod) if !pod.status.is_over() => {
                let stays = document.metadata.deletion_timestamp.is_none();
                let address = pod.status.address().filter(|_| stays);
                Self { document, labels: &document.metadata.labels, spec: &pod.spec, address }
            }
            _ => return None,
        })
    }

    /// The account it runs as.
    pub(super) fn account(&self) -> &'d str {
        self.spec.account().map_or(DEFAULT_ACCOUNT, |account| account)
    }

    /// Where its account is written; its name if it is not.
    pub(super) fn account_span(&self) -> Span {
        self.spec.account().map_or(self.document.metadata.name.span, |account| account.span)
    }

    /// The port of that name.
    pub(super) fn port(&self, name: &str, protocol: &str) -> Option<&'d Spanned<ContainerPort>> {
        let named = |port: &&Spanned<ContainerPort>| port.name.as_deref().is_some_and(|own| own == name);
        self.spec.ports().find(|port| named(port) && port.speaks(protocol))
    }

    /// What the model keeps of it.
    pub(super) fn workload(&self) -> Workload {
        Workload { name: self.document.object(), labels: self.labels.clone() }
    }
}

/// All pods, looked up by their labels.
pub(super) struct Pods<'d> {
    sets: Vec<PodSet<'d>>,
    by_namespace: BTreeMap<&'d str, Vec<usize>>,
    by_label: BTreeMap<(&'d str, &'d str, &'d str), Vec<usize>>,
    by_name: BTreeMap<(&'d str, &'d str), usize>,
}

impl<'d> Pods<'d> {
    pub(super) fn of(documents: &[&'d ParsedDocument]) -> Self {
        let sets: Vec<PodSet<'d>> = documents.iter().filter_map(|document| PodSet::of(document)).collect();
        let (mut by_namespace, mut by_label) = (BTreeMap::new(), BTreeMap::new());
        let mut by_name = BTreeMap::new();
        for (place, set) in sets.iter().enumerate() {
            let namespace = set.document.namespace();
            by_namespace.entry(namespace).or_insert_with(Vec::new).push(place);
            for (key, value) in set.labels {
                let label = (namespace, key.as_str(), value.as_str());
                by_label.entry(label).or_insert_with(Vec::new).push(place);
            }
            if matches!(set.document.spec, Kind::Pod(_)) {
                by_name.insert((namespace, set.document.name()), place);
            }
        }
        Self { sets, by_namespace, by_label, by_name }
    }

    /// Those of a namespace with all of these labels, which are some, in document order.
    pub(super) fn selected(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<&PodSet<'d>> {
        let having = |(key, value): (&String, &String)| {
            self.by_label.get(&(namespace, key.as_str(), value.as_str())).map_or(0, Vec::len)
        };
        // The rarest label leaves the fewest to look at.
        let rarest = labels.iter().min_by_key(|label| having(*label));
        let fewest = rarest.and_then(|(key, value)| self.by_label.get(&(namespace, key, value)));
        let found = fewest.into_iter().flatten().filter_map(|place| self.sets.get(*place));
        found.filter(|set| labels.iter().all(|(key, value)| set.labels.get(key) == Some(value))).collect()
    }

    /// Those of a namespace, in document order.
    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &PodSet<'d>> {
        let places = self.by_namespace.get(namespace).map_or(&[][..], Vec::as_slice);
        places.iter().filter_map(|place| self.sets.get(*place))
    }

    /// All of them, in document order.
    pub(super) fn all(&self) -> impl Iterator<Item = &PodSet<'d>> {
        self.sets.iter()
    }

    /// The labels of the Pod of that name.
    pub(super) fn labels_of(&self, namespace: &str, name: &str) -> Option<&'d BTreeMap<String, String>> {
        self.by_name.get(&(namespace, name)).and_then(|place| self.sets.get(*place)).map(|set| set.labels)
    }
}

/// The one account of the workloads of a service, if there are any. Several are reported, and the first stands for them.
pub(super) fn account<'d>(
    context: &mut Context<'_>,
    document: &ParsedDocument,
    pods: &[&PodSet<'d>],
) -> Option<&'d str> {
    let first = pods.first()?;
    if let Some(other) = pods.iter().find(|pods| pods.account() != first.account()) {
        let message = format!(
            "the workloads of `{}/{}` run as several accounts, `{}` and `{}`",
            document.namespace(),
            document.name(),
            first.account(),
            other.account()
        );
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(document.metadata.name.span)
            .related(first.account_span(), format!("`{}` runs as `{}`", first.document, first.account()))
            .related(other.account_span(), format!("`{}` runs as `{}`", other.document, other.account()))
            .with_note(
                "a service has one identity, by which its callers know it and which it shows where it calls",
            )
            .help("give them one `serviceAccountName`, or a Service each");
        context.report(finding);
    }
    Some(first.account())
}

/// The identities that the documents of a cluster name. An account that a workload runs as and that is not there is
/// reported where the accounts of its namespace are in the documents.
pub(super) fn accounts(context: &mut Context<'_>, documents: &[&ParsedDocument], mesh: &Mesh) -> Accounts {
    let mut declared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for document in documents.iter().filter(|document| matches!(document.spec, Kind::ServiceAccount)) {
        declared.entry(document.namespace()).or_default().push(document.name());
    }
    let mut accounts = Accounts::default();
    let identity = |namespace: &str, account: &str| {
        SpiffeId::for_service_account(&mesh.trust_domain, namespace, account)
    };
    for (namespace, names) in &declared {
        accounts.listed.insert((*namespace).to_owned());
        let named = names.iter().copied().chain([DEFAULT_ACCOUNT]);
        accounts.known.extend(named.filter_map(|name| identity(namespace, name).ok()));
    }
    for set in documents.iter().filter_map(|document| PodSet::of(document)) {
        let (namespace, account) = (set.document.namespace(), set.account());
        match identity(namespace, account) {
            Ok(identity) => drop(accounts.known.insert(identity)),
            Err(error) => {
                let message = format!("`{account}` cannot be part of an identity: {error}");
                let finding = Diagnostic::error(INVALID_VALUE, message).object(set.document.object());
                context.report(finding.at(set.account_span()));
            }
        }
        let Some(names) = declared.get(namespace).filter(|_| account != DEFAULT_ACCOUNT) else { continue };
        let unread = context.is_unread("ServiceAccount", namespace, account);
        if !names.contains(&account) && !unread {
            let near = did_you_mean(account, names.iter().copied());
            let message = format!("there is no ServiceAccount in namespace `{namespace}` called `{account}`");
            let finding = Diagnostic::warning("unknown-reference", message)
                .object(set.document.object())
                .at(set.account_span())
                .label("not found")
                .maybe_help(near.map(|near| format!("did you mean `{near}`?")));
            context.report(finding);
        }
    }
    accounts
}
