//! What several kinds need to know of other documents: labels of namespaces, certificates, grants.

use std::collections::BTreeMap;

use super::super::{Context, convert};
use crate::dialect::gateway::{ObjectRef, ReferenceGrant};
use crate::dialect::kubernetes::{CA_KEY, ConfigMap};
use crate::dialect::{Kind, ParsedDocument};
use crate::yaml::Spanned;

/// Facts by the names they are looked up by.
pub(super) struct Facts<'d> {
    /// The documents of namespaces.
    namespaces: BTreeMap<&'d str, &'d ParsedDocument>,
    config_maps: BTreeMap<(&'d str, &'d str), (&'d ParsedDocument, &'d ConfigMap)>,
    /// By the namespace that grants.
    pub(super) grants: BTreeMap<&'d str, Vec<&'d ReferenceGrant>>,
}

impl<'d> Facts<'d> {
    pub(super) fn of(documents: &[&'d ParsedDocument]) -> Self {
        let mut facts =
            Self { namespaces: BTreeMap::new(), config_maps: BTreeMap::new(), grants: BTreeMap::new() };
        for &document in documents {
            let place = (document.namespace(), document.name());
            match &document.spec {
                Kind::Namespace => drop(facts.namespaces.insert(document.name(), document)),
                Kind::ConfigMap(map) => drop(facts.config_maps.insert(place, (document, map))),
                Kind::ReferenceGrant(grant) => facts.grants.entry(place.0).or_default().push(grant),
                _ => {}
            }
        }
        facts
    }

    /// The labels of a namespace. Each has its own name as `kubernetes.io/metadata.name`, as in Kubernetes.
    pub(super) fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let document = self.namespaces.get(namespace);
        let mut labels = document.map(|document| document.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }

    /// Whether a document says which labels a namespace has.
    pub(super) fn knows(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// The certificates of some ConfigMaps: base64 of one DER certificate each, sorted. What cannot be found is
    /// reported.
    pub(super) fn certificates(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        references: &[Spanned<ObjectRef>],
    ) -> Vec<String> {
        let mut found = Vec::new();
        for reference in references.iter().filter(|reference| reference.is_core("ConfigMap", "")) {
            let namespace = reference.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
            let name = reference.name.value.as_str();
            let Some((other, map)) = self.config_maps.get(&(namespace, name)) else {
                if !context.unread.contains(&format!("ConfigMap {namespace}/{name}")) {
                    let own = self.config_maps.keys().filter(|(of, _)| *of == namespace);
                    let known: Vec<&str> = own.map(|(_, name)| *name).collect();
                    let what = format!("ConfigMap with a `{CA_KEY}` in namespace `{namespace}` called");
                    context.unknown(document, reference.name.span, &what, name, &known);
                }
                continue;
            };
            let Some(pem) = map.data.get(CA_KEY) else { continue };
            match convert::certificates(pem.value.as_bytes()) {
                Some(certificates) => found.extend(certificates),
                None => context.no_certificate(other, pem.span),
            }
        }
        found.sort();
        found.dedup();
        found
    }
}
