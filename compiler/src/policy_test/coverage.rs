//! Which rules the cases reached. Invariants reach none: they ask about all requests at once.

use std::collections::BTreeMap;

use weft_bundle::body::Origin;

use crate::model::{At, Mesh};
use crate::trace::{Access, Place, Trace};
use crate::yaml::Span;

/// Every rule of the mesh, and whether a case reached it.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    rules: BTreeMap<Key, Covered>,
}

/// File, line, object, rule: what a trace says of the rule that decided, in the order in which rules are listed.
type Key = (String, u32, String, Option<String>);

#[derive(Clone, Debug)]
struct Covered {
    kind: RuleKind,
    origin: Origin,
    reached: bool,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Where requests go.
    Route,
    /// Who may call.
    Access,
}

impl RuleKind {
    /// The name in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Access => "access",
        }
    }
}

impl Coverage {
    /// All rules of a mesh, none reached.
    pub fn of(mesh: &Mesh) -> Self {
        let routes =
            mesh.routes.iter().flat_map(|route| &route.rules).map(|rule| (RuleKind::Route, &rule.at));
        let access = mesh.access.iter().flat_map(|policy| &policy.rules);
        let access = access.map(|rule| (RuleKind::Access, &rule.at));
        let covered = |(kind, at): (RuleKind, &At)| {
            (key(&at.origin), Covered { kind, origin: at.origin.clone(), reached: false })
        };
        Self { rules: routes.chain(access).map(covered).collect() }
    }

    /// Notes what a request reached: the rule that routed it, and the access rules that decided or recorded it.
    pub fn reach(&mut self, trace: &Trace) {
        if let Some(place) = &trace.rule {
            self.mark((place.file.clone(), place.line, place.object.clone(), place.name.clone()));
        }
        let shares = trace.backends.iter().map(|share| (&share.access, &share.audits));
        for (access, audits) in shares.chain([(&trace.admission, &trace.audits)]) {
            if let Some(Access { policy, rule, file, line, .. }) = access {
                self.mark((file.clone(), *line, policy.clone(), rule.clone()));
            }
            for Place { object, name, file, line } in audits {
                self.mark((file.clone(), *line, object.clone(), name.clone()));
            }
        }
    }

    fn mark(&mut self, key: Key) {
        if let Some(rule) = self.rules.get_mut(&key) {
            rule.reached = true;
        }
    }

    /// How many rules of a kind were reached, of how many.
    pub fn count(&self, kind: RuleKind) -> (usize, usize) {
        let of_kind = || self.rules.values().filter(|rule| rule.kind == kind);
        (of_kind().filter(|rule| rule.reached).count(), of_kind().count())
    }

    /// Reached rules in per cent of all, rounded down; 100 where there are none.
    pub fn per_cent(&self) -> usize {
        let reached = self.rules.values().filter(|rule| rule.reached).count();
        (reached * 100).checked_div(self.rules.len()).unwrap_or(100)
    }

    /// The rules that no case reached, by file and line.
    pub fn unreached(&self) -> impl Iterator<Item = (RuleKind, &Origin)> {
        self.rules.values().filter(|rule| !rule.reached).map(|rule| (rule.kind, &rule.origin))
    }
}

fn key(origin: &Origin) -> Key {
    (origin.file.clone(), origin.line, origin.object.clone(), origin.rule.clone())
}

/// Where a rule or document that decided is written.
pub(super) fn span_of(mesh: &Mesh, object: &str, rule: Option<&str>, line: u32) -> Option<Span> {
    let routes =
        mesh.routes.iter().flat_map(|route| route.rules.iter().map(|rule| &rule.at).chain([&route.at]));
    let access =
        mesh.access.iter().flat_map(|policy| policy.rules.iter().map(|rule| &rule.at).chain([&policy.at]));
    let services = mesh.services.iter().map(|service| &service.at);
    let mut all = routes.chain(access).chain(services).chain([&mesh.at]);
    all.find(|at| at.origin.object == object && at.origin.rule.as_deref() == rule && at.origin.line == line)
        .map(|at| at.span)
}
