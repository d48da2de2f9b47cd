//! What must hold for every request: who gets some through, who none, who all.

use std::collections::BTreeMap;

use weft_bundle::body::{Access, Verdict};
use weft_bundle::engine::BuildError;
use weft_bundle::spiffe::SpiffeId;

use super::coverage::span_of;
use super::peers;
use super::question::{Port, Witness};
use crate::diagnostic::Diagnostic;
use crate::model::policy_test::{Claim, Claimed, Invariant, Selector, Who};
use crate::model::{Mesh, ServiceIndex};
use crate::reach::Budget;
use crate::trace::Tracer;
use crate::yaml::Span;

/// Findings that one claim makes at most; the others are counted.
const MOST_FINDINGS: usize = 5;
/// Comparisons of peers with rules that one invariant may take.
const MOST_COMPARISONS: usize = 50_000_000;

/// What did not hold, each with a request that shows it.
///
/// # Errors
/// When the body of the called service cannot be loaded.
pub(super) fn check(
    mesh: &Mesh,
    tracer: &mut Tracer<'_>,
    invariant: &Invariant,
    budget: &Budget,
) -> Result<Vec<Diagnostic>, BuildError> {
    let requests = &invariant.requests;
    let engine = tracer.engine(requests.of)?;
    let mut ports = Vec::new();
    for (_, target, _) in requests.ports(mesh) {
        ports.extend(Port::new(std::sync::Arc::clone(&engine), target, &requests.operation)?);
    }
    let services = peers::services(mesh, requests.of);
    let mut checker = Checker { mesh, invariant, services, ports, budget, found: Vec::new(), more: 0 };
    for claim in &invariant.claims {
        checker.claim(claim);
    }
    Ok(checker.found)
}

struct Checker<'c> {
    mesh: &'c Mesh,
    invariant: &'c Invariant,
    /// By identity.
    services: BTreeMap<SpiffeId, Vec<ServiceIndex>>,
    ports: Vec<Port>,
    budget: &'c Budget,
    found: Vec<Diagnostic>,
    /// Findings beyond those shown for the claim at hand.
    more: usize,
}

impl Checker<'_> {
    fn claim(&mut self, claim: &Claim) {
        let before = self.found.len();
        self.more = 0;
        match &claim.what {
            Claimed::Only(selectors) => {
                self.callers(claim.span, |id| !selects(selectors, Some(id)), "and is not among them");
            }
            Claimed::Exclude(selectors) => {
                self.callers(claim.span, |id| selects(selectors, Some(id)), "and is among these");
            }
            Claimed::Include(selectors) => self.include(selectors),
            Claimed::Denied(selectors) => self.everybody(claim.span, selectors, Verdict::Allow),
            Claimed::Allowed(selectors) => self.everybody(claim.span, selectors, Verdict::Deny),
        }
        let more = self.more;
        if let Some(first) = self.found.get_mut(before).filter(|_| more > 0) {
            first.notes.push(format!("{more} more callers do the same"));
        }
    }

    /// Services of the wanted identities that get some request through.
    fn callers(&mut self, span: Span, wanted: impl Fn(&SpiffeId) -> bool, why: &str) {
        let identities: Vec<SpiffeId> = self.services.keys().filter(|id| wanted(id)).cloned().collect();
        if !self.is_affordable(identities.len(), span) {
            return;
        }
        for id in &identities {
            match self.witness(Some(id), Verdict::Allow) {
                Ok(None) => {}
                Ok(Some(witness)) => {
                    let message = format!("{} gets {} {why}", self.name(Some(id)), asked(&witness));
                    self.report(span, &message, Some((&witness, "this lets it in")));
                }
                Err(why) => self.unknown(span, Some(id), &why),
            }
        }
    }

    /// Each selected caller gets some request through.
    fn include(&mut self, selectors: &[Selector]) {
        for selector in selectors {
            let named = match (&selector.who, selector.negated) {
                (Who::Identity(id), false) => vec![id.clone()],
                _ => self.services.keys().filter(|id| selector.selects(Some(id))).cloned().collect(),
            };
            if named.is_empty() {
                self.report(selector.span, "no service is among these callers", None);
            }
            for id in &named {
                match self.witness(Some(id), Verdict::Allow) {
                    Ok(Some(_)) => {}
                    Ok(None) => {
                        let message = format!("{} gets no such request through", self.name(Some(id)));
                        let refused = self.witness(Some(id), Verdict::Deny).ok().flatten();
                        let refused = refused.as_ref().map(|witness| (witness, "this refuses it"));
                        self.report(selector.span, &message, refused);
                    }
                    Err(why) => self.unknown(selector.span, Some(id), &why),
                }
            }
        }
    }

    /// No selected caller, known or not, has a request with the unwanted outcome.
    fn everybody(&mut self, span: Span, selectors: &[Selector], unwanted: Verdict) {
        let access: Vec<&Access> = self.ports.iter().map(Port::access).collect();
        let mut peers = peers::strangers(self.mesh, &access, selectors);
        peers.extend(self.services.keys().cloned().map(Some));
        let open = self.ports.iter().any(Port::is_open_to_strangers);
        let anybody = selectors.is_empty();
        // Where clear text is taken, anyone can come without saying who he is, and so can those selected.
        let nameless = match unwanted {
            Verdict::Allow => open,
            Verdict::Deny => open && (anybody || selectors.iter().any(|selector| selector.negated)),
        };
        peers.retain(|peer| match peer {
            None => nameless,
            Some(id) => anybody || selects(selectors, Some(id)),
        });
        if !self.is_affordable(peers.len(), span) {
            return;
        }
        for peer in peers {
            match self.witness(peer.as_ref(), unwanted) {
                Ok(None) => {}
                Ok(Some(witness)) => {
                    let (does, place) = match unwanted {
                        Verdict::Allow => ("gets", "this lets it in"),
                        Verdict::Deny => ("does not get", "this refuses it"),
                    };
                    let message = format!("{} {does} {}", self.name(peer.as_ref()), asked(&witness));
                    self.report(span, &message, Some((&witness, place)));
                }
                Err(why) => self.unknown(span, peer.as_ref(), &why),
            }
        }
    }

    /// On any of the ports.
    fn witness(&mut self, identity: Option<&SpiffeId>, wanted: Verdict) -> Result<Option<Witness>, String> {
        let mut unknown = None;
        for port in &mut self.ports {
            match port.witness(identity, wanted, self.budget) {
                Ok(None) => {}
                Ok(Some(witness)) => return Ok(Some(witness)),
                Err(why) => unknown = Some(why),
            }
        }
        unknown.map_or(Ok(None), Err)
    }

    fn is_affordable(&mut self, peers: usize, span: Span) -> bool {
        let cost = self.ports.iter().map(Port::cost).sum::<usize>().saturating_mul(peers);
        if cost > MOST_COMPARISONS {
            let why = format!("{peers} callers and the rules of the service are too many to compare");
            self.unknown(span, None, &why);
        }
        cost <= MOST_COMPARISONS
    }

    fn unknown(&mut self, span: Span, identity: Option<&SpiffeId>, why: &str) {
        let about = identity.map(|id| format!(" of {}", self.name(Some(id)))).unwrap_or_default();
        self.found(
            span,
            &format!("is not known to hold: the requests{about} cannot be decided: {why}"),
            None,
        );
    }

    fn report(&mut self, span: Span, message: &str, witness: Option<(&Witness, &str)>) {
        self.found(span, &format!("does not hold: {message}"), witness);
    }

    fn found(&mut self, span: Span, message: &str, witness: Option<(&Witness, &str)>) {
        let shown = self.found.iter().filter(|finding| finding.span == Some(span)).count();
        if shown >= MOST_FINDINGS {
            self.more += 1;
            return;
        }
        let origin = &self.invariant.at.origin;
        let name = origin.rule.as_deref().unwrap_or_default();
        let mut finding = Diagnostic::error("failed-invariant", format!("`{name}` {message}"))
            .object(origin.object.clone())
            .at(span);
        if let Some((witness, text)) = witness {
            let decided = &witness.origin;
            if let Some(place) = span_of(self.mesh, &decided.object, decided.rule.as_deref(), decided.line) {
                finding = finding.related(place, text);
            }
            if self.ports.len() > 1 {
                finding = finding.with_note(format!("on port {} of its workloads", witness.port));
            }
        }
        self.found.push(finding);
    }

    /// `` `shop/web` ``, `` the unknown `spiffe://…` ``, `a client without a certificate`.
    fn name(&self, identity: Option<&SpiffeId>) -> String {
        let Some(id) = identity else { return "a client without a certificate".to_owned() };
        match self.services.get(id).map(Vec::as_slice) {
            None => format!("the identity `{id}`"),
            Some([service]) => format!("`{}`", self.mesh.service(*service).id()),
            Some([service, others @ ..]) => {
                let others = others.len();
                let plural = if others == 1 { "service" } else { "services" };
                let id = self.mesh.service(*service).id();
                format!("`{id}`, with {others} more {plural} of its identity,")
            }
            Some([]) => format!("`{id}`"),
        }
    }
}

fn selects(selectors: &[Selector], identity: Option<&SpiffeId>) -> bool {
    selectors.iter().any(|selector| selector.selects(identity))
}

/// What gets through: `` `GET /x` through from 10.0.0.1 ``.
fn asked(witness: &Witness) -> String {
    let request = match &witness.request {
        Some(request) => format!("`{request}`"),
        None => "a connection".to_owned(),
    };
    match witness.address {
        Some(address) => format!("{request} through from {address}"),
        None => format!("{request} through"),
    }
}
