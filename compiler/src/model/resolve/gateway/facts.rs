//! What several kinds need to know of other documents: labels of namespaces, certificates, grants.

use std::collections::BTreeMap;

use super::super::{Context, convert};
use crate::dialect::gateway::{ObjectRef, ReferenceGrant};
use crate::dialect::kubernetes::{CA_KEY, ConfigMap, Secret};
use crate::dialect::{Kind, ParsedDocument};
use crate::yaml::Spanned;

/// Facts by the names they are looked up by.
pub(super) struct Facts<'d> {
    /// The documents of namespaces.
    namespaces: BTreeMap<&'d str, &'d ParsedDocument>,
    config_maps: BTreeMap<(&'d str, &'d str), (&'d ParsedDocument, &'d ConfigMap)>,
    secrets: BTreeMap<(&'d str, &'d str), (&'d ParsedDocument, &'d Secret)>,
    /// By the namespace that grants.
    pub(super) grants: BTreeMap<&'d str, Vec<&'d ReferenceGrant>>,
}

impl<'d> Facts<'d> {
    pub(super) fn of(documents: &[&'d ParsedDocument]) -> Self {
        let mut facts = Self {
            namespaces: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            grants: BTreeMap::new(),
        };
        for &document in documents {
            let place = (document.namespace(), document.name());
            match &document.spec {
                Kind::Namespace => drop(facts.namespaces.insert(document.name(), document)),
                Kind::ConfigMap(map) => drop(facts.config_maps.insert(place, (document, map))),
                Kind::Secret(secret) => drop(facts.secrets.insert(place, (document, secret))),
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

    /// The Secret of that name, if it is in the documents.
    pub(super) fn secret(&self, namespace: &str, name: &str) -> Option<(&'d ParsedDocument, &'d Secret)> {
        self.secrets.get(&(namespace, name)).copied()
    }

    /// The certificates of some ConfigMaps and Secrets: base64 of one DER certificate each, sorted. What cannot be found is
    /// reported.
    pub(super) fn certificates(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        references: &[Spanned<ObjectRef>],
    ) -> Vec<String> {
        let mut found = Vec::new();
        for reference in references {
            let Some((other, pem)) = self.pem(context, document, reference) else { continue };
            match convert::certificates(pem.value.as_bytes()) {
                Some(certificates) => found.extend(certificates),
                None => context.no_certificate(other, pem.span),
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// What a reference to certificates names, in PEM.
    fn pem(
        &self,
        context: &mut Context<'_>,
        document: &ParsedDocument,
        reference: &ObjectRef,
    ) -> Option<(&'d ParsedDocument, &'d Spanned<String>)> {
        let namespace = reference.namespace.as_ref().map_or(document.namespace(), |namespace| namespace);
        let place = (namespace, reference.name.value.as_str());
        let kind = reference.issuers()?;
        let (found, known) = match kind {
            "Secret" => {
                let secret = self.secrets.get(&place);
                let pem = secret.and_then(|(of, secret)| Some((*of, secret.anchors()?)));
                let with = self.secrets.iter().filter(|(_, (_, secret))| secret.anchors().is_some());
                (pem, names_in(namespace, with.map(|(place, _)| place)))
            }
            _ => {
                let map = self.config_maps.get(&place);
                let pem = map.and_then(|(of, map)| Some((*of, map.data.get(CA_KEY)?)));
                (pem, names_in(namespace, self.config_maps.keys()))
            }
        };
        // What a Secret has and could not be read was reported there.
        let broken = kind == "Secret"
            && self.secrets.get(&place).is_some_and(|(_, secret)| secret.keys.contains(CA_KEY));
        if found.is_none() && !broken && !context.is_unread(kind, namespace, place.1) {
            let what = format!("{kind} with a `{CA_KEY}` in namespace `{namespace}` called");
            context.unknown(document, reference.name.span, &what, place.1, &known);
        }
        found
    }
}

fn names_in<'d>(namespace: &str, places: impl Iterator<Item = &'d (&'d str, &'d str)>) -> Vec<&'d str> {
    places.filter(|(of, _)| *of == namespace).map(|(_, name)| *name).collect()
}
