//! The levels of settings that hold for a request, nearest first: who may say something, and in which order they are asked.
//!
//! ```text
//! rule → policies of the rule → of its route → of the subset → subset → policies of the port → of the service →
//! port, else service → the route's dialect → policies of the mesh → mesh → what holds without a word
//! ```

use super::settings::Setting;
use super::{At, Mesh, Settings, Told, TrafficTarget};

/// How near a level is to what a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A rule, a route, a subset or a service: somebody meant just this.
    Near,
    /// What a dialect says where nobody says anything.
    Dialect,
    /// The mesh.
    Mesh,
    /// What holds without a word.
    BuiltIn,
}

/// Settings in the order in which they are asked.
#[derive(Clone, Debug)]
pub struct Levels<'m>(Vec<(&'m Settings, &'m At, Level)>);

/// A rule: its route, and its place there.
pub type RulePlace = (usize, usize);

impl<'m> Levels<'m> {
    /// Those for requests to a port of a service, as some callers are told of it; `rule` is the one that they come through, if
    /// any.
    pub fn of(
        mesh: &'m Mesh,
        told: Told<'m>,
        port: u16,
        subset: Option<&str>,
        rule: Option<RulePlace>,
    ) -> Self {
        let mut levels = Self(Vec::with_capacity(8));
        if let Some(rule) = rule {
            levels.rule(mesh, rule);
        }
        if let Some(name) = subset {
            levels.policies(mesh, &TrafficTarget::Subset(told.index, name.to_owned()), Level::Near);
            if let Some(subset) = told.subsets().get(name) {
                levels.add(subset.ports.get(&port).unwrap_or(&subset.settings), &subset.at, Level::Near);
            }
        }
        levels.service(mesh, told, port);
        levels.mesh(mesh, rule.map(|(route, _)| route));
        levels
    }

    /// Those of a rule and its route alone.
    pub fn of_rule(mesh: &'m Mesh, rule: RulePlace) -> Self {
        let mut levels = Self(Vec::new());
        levels.rule(mesh, rule);
        levels
    }

    /// Those below the rules of a route, for requests to a port.
    pub fn below_rules(mesh: &'m Mesh, told: Told<'m>, port: u16, route: usize) -> Self {
        let mut levels = Self(Vec::with_capacity(8));
        levels.service(mesh, told, port);
        levels.mesh(mesh, Some(route));
        levels
    }

    /// Those for the requests of a rule on a listener: callers outside name no service, whose settings could count.
    pub fn on_listener(mesh: &'m Mesh, rule: RulePlace) -> Self {
        let mut levels = Self::of_rule(mesh, rule);
        levels.mesh(mesh, Some(rule.0));
        levels
    }

    fn rule(&mut self, mesh: &'m Mesh, (route, number): RulePlace) {
        if let Some(rule) = mesh.routes.get(route).and_then(|route| route.rules.get(number)) {
            self.add(&rule.settings, &rule.at, Level::Near);
        }
        self.policies(mesh, &TrafficTarget::Rule(route, number), Level::Near);
        self.policies(mesh, &TrafficTarget::Route(route), Level::Near);
    }

    fn service(&mut self, mesh: &'m Mesh, told: Told<'m>, port: u16) {
        self.policies(mesh, &TrafficTarget::Port(told.index, port), Level::Near);
        self.policies(mesh, &TrafficTarget::Service(told.index), Level::Near);
        self.add(told.settings(port), told.at(), Level::Near);
    }

    fn mesh(&mut self, mesh: &'m Mesh, route: Option<usize>) {
        if let Some(route) = route.and_then(|route| mesh.routes.get(route)) {
            self.add(&route.dialect_defaults, &route.at, Level::Dialect);
        }
        self.policies(mesh, &TrafficTarget::Mesh, Level::Mesh);
        self.add(&mesh.defaults, &mesh.at, Level::Mesh);
        self.add(Settings::built_in(), &mesh.at, Level::BuiltIn);
    }

    fn add(&mut self, settings: &'m Settings, at: &'m At, level: Level) {
        if !settings.is_empty() {
            self.0.push((settings, at, level));
        }
    }

    /// Of policies on one target the first decides where two clash, which resolve has reported.
    fn policies(&mut self, mesh: &'m Mesh, target: &TrafficTarget, level: Level) {
        let here = mesh.index.traffic(target).iter().filter_map(|place| mesh.traffic.get(*place));
        self.0.extend(here.map(|policy| (&policy.settings, &policy.at, level)));
    }

    /// All of them together: each field is that of the nearest level that sets it.
    pub fn merged(&self) -> Settings {
        self.0.iter().fold(Settings::default(), |merged, (settings, ..)| merged.or(settings))
    }

    /// The nearest level that sets a field: what it says, in which settings, whose they are, and how near.
    pub fn nearest<T>(&self, setting: Setting<T>) -> Option<(&'m T, &'m Settings, &'m At, Level)> {
        self.0.iter().find_map(|(settings, at, level)| Some((settings.get(setting)?, *settings, *at, *level)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::routing::{self, RuleSettings};
    use crate::source::Sources;

    /// Every level sets one field of its own and one that the next level sets too.
    const DOCUMENTS: &str = "
apiVersion: weft.dev/v1alpha1
kind: Mesh
metadata: { name: m }
spec: { trustDomain: m.example, defaults: { timeouts: { request: 9s, connect: 9s } } }
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: { name: s }
spec:
  ports: [ { name: http, port: 80, protocol: http } ]
  endpoints: { static: [ { address: 10.0.0.1, labels: { v: a } } ] }
  subsets: [ { name: a, labels: { v: a } } ]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: mesh }
spec: { targetRefs: [ { kind: Mesh, name: m } ], timeouts: { connect: 8s, idle: 8s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: service }
spec: { targetRefs: [ { kind: Service, name: s } ], timeouts: { idle: 7s, poolIdle: 7s } }
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: subset }
spec: { targetRefs: [ { kind: Service, name: s, subset: a } ], timeouts: { poolIdle: 6s } }
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: s }
spec:
  hosts: [ s ]
  http: [ { timeout: 5s, route: [ { destination: { host: s, subset: a } } ] }, { route: [ { destination: { host: s } } ] } ]
";

    #[test]
    fn each_level_leaves_to_the_next_what_it_does_not_set() {
        let mesh = crate::compile(&Sources::in_memory([("m.yaml", DOCUMENTS)])).mesh;
        let service = mesh.find("default", "s").unwrap();
        let told = mesh.told(service).next().unwrap();
        for (rule, subset, expected) in [
            (None, None, ["9s mesh", "8s mesh", "7s near", "7s near", "0 builtin"]),
            (None, Some("a"), ["9s mesh", "8s mesh", "7s near", "6s near", "0 builtin"]),
            (Some((0, 0)), Some("a"), ["5s near", "8s mesh", "7s near", "6s near", "2 dialect"]),
            (Some((0, 1)), None, ["0s dialect", "8s mesh", "7s near", "7s near", "2 dialect"]),
        ] {
            let levels = Levels::of(&mesh, told, 80, subset, rule);
            let merged = levels.merged();
            let time = |setting| {
                let (value, settings, at, level) = levels.nearest(setting).unwrap();
                assert_eq!(Some(value), merged.get(setting), "{}", setting.name);
                // Who says it is also who the merged settings say says it.
                let place = merged.place(setting).map(|place| place.span);
                let said = settings.place(setting).map_or(at.span, |place| place.span);
                assert!(place.is_none_or(|span| said == span), "{}", setting.name);
                format!("{value} {level:?}").to_lowercase()
            };
            let (attempts, .., level) = levels.nearest(Settings::RETRY_ATTEMPTS).unwrap();
            let said = [
                time(Settings::REQUEST),
                time(Settings::CONNECT),
                time(Settings::IDLE),
                time(Settings::POOL_IDLE),
                format!("{attempts} {level:?}").to_lowercase(),
            ];
            assert_eq!(said, expected, "{rule:?} {subset:?}");
            if let (Some(rule), None) = (rule, subset) {
                let alone = routing::settings(&mesh, service, 80, None, Some(rule));
                assert_eq!(*RuleSettings::new(&mesh, None, (service, 80)).of(rule), alone);
                assert_eq!(merged, alone);
            }
        }
    }
}
