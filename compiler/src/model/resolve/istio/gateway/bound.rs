//! What a VirtualService is bound to: the listeners for which it decides, and which of its conditions hold where.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::Context;
use super::Name;
use super::bind::name_of;
use super::listeners::Part;
use crate::diagnostic::Diagnostic;
use crate::dialect::{NOT_SUPPORTED, ParsedDocument};
use crate::model::{GatewayIndex, ListenerAttachment, Mesh, Places};
use crate::yaml::{Span, Spanned};

/// The listeners for which a VirtualService decides.
#[derive(Default)]
pub(in crate::model::resolve::istio) struct Bound<'d> {
    /// By what of it decides there.
    pub(super) listeners: BTreeMap<Part, Vec<Place<'d>>>,
}

/// A listener, with the Gateways by which a VirtualService came to it.
pub(super) struct Place<'d> {
    pub(super) attachment: ListenerAttachment,
    pub(super) through: BTreeSet<Name<'d>>,
    pub(super) port: u16,
    pub(super) over_tls: bool,
}

/// What a condition asks of its caller.
pub(in crate::model::resolve::istio) struct Asked<'a> {
    pub(in crate::model::resolve::istio) gateways: &'a [Spanned<String>],
    pub(in crate::model::resolve::istio) namespace: Option<&'a str>,
    pub(in crate::model::resolve::istio) labels: &'a BTreeMap<String, String>,
    pub(in crate::model::resolve::istio) span: Span,
}

impl Bound<'_> {
    /// The listeners for some parts, each once.
    pub(in crate::model::resolve::istio) fn attachments(
        &self,
        wanted: impl Fn(Part) -> bool,
    ) -> Vec<ListenerAttachment> {
        let mut seen = BTreeSet::new();
        self.places(wanted)
            .map(|place| &place.attachment)
            .filter(|attachment| seen.insert((attachment.gateway, attachment.listener)))
            .cloned()
            .collect()
    }

    fn places(&self, wanted: impl Fn(Part) -> bool) -> impl Iterator<Item = &Place<'_>> {
        self.listeners.iter().filter(move |(part, _)| wanted(**part)).flat_map(|(_, places)| places)
    }

    /// The ports of the listeners for requests, each with whether these come over TLS.
    pub(in crate::model::resolve::istio) fn ports(&self) -> impl Iterator<Item = (u16, bool)> {
        self.places(|part| part == Part::Requests).map(|place| (place.port, place.over_tls))
    }

    /// Where a condition holds, if not wherever its route does; `services` says whether that is so inside the mesh.
    pub(in crate::model::resolve::istio) fn only(
        &self,
        context: &mut Context<'_>,
        mesh: &Mesh,
        document: &ParsedDocument,
        (part, services): (Part, bool),
        asked: &Asked<'_>,
    ) -> Option<Places> {
        let mut listeners = BTreeSet::new();
        let mut all = services;
        for place in self.places(|of| of == part) {
            // As in Istio, whoever names gateways is not asked for anything else
            // (istio:pilot/pkg/networking/core/route/route.go, `sourceMatchHTTP`).
            let here = match asked.gateways {
                [] => meets(context, mesh, document, place.attachment.gateway, asked),
                named => named.iter().any(|named| place.through.contains(&name_of(document, named))),
            };
            all &= here;
            if here {
                listeners.insert((place.attachment.gateway, place.attachment.listener));
            }
        }
        let everywhere = all && !matches!(part, Part::ServerName(..));
        let alone = self.listeners.is_empty() && services;
        (!everywhere && !alone).then_some(Places { services, listeners })
    }
}

/// Whether the workloads of a gateway are such callers as a condition asks for.
fn meets(
    context: &mut Context<'_>,
    mesh: &Mesh,
    document: &ParsedDocument,
    gateway: GatewayIndex,
    asked: &Asked<'_>,
) -> bool {
    let gateway = mesh.gateway(gateway);
    if asked.namespace.is_some_and(|wanted| *wanted != *gateway.namespace) {
        return false;
    }
    mesh.gateway_carries(gateway, asked.labels).unwrap_or_else(|| {
        let labels = asked.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>();
        let message =
            format!("nothing says whether the workloads of `{}` carry `{}`", gateway.id(), labels.join(", "));
        let finding = Diagnostic::error(NOT_SUPPORTED, message)
            .object(document.object())
            .at(asked.span)
            .related(gateway.at.span, "requests come in through this gateway too")
            .help("say by `gateways` where the condition holds");
        context.report(finding);
        false
    })
}
