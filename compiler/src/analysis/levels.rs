//! Which level of settings says something, for findings that point at it. The order is that of
//! [`crate::model::routing::settings`], which a test holds this to.

use crate::model::settings::Setting;
use crate::model::{At, Mesh, Port, ServiceIndex, Settings, TrafficTarget};
use crate::yaml::Span;

/// Where a setting comes from, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A rule, a route, a subset or a service: somebody meant just this.
    Near,
    /// What a dialect says where nobody says anything.
    Dialect,
    /// The mesh.
    Mesh,
    /// What holds without a word.
    BuiltIn,
}

/// Where something is said: by which object, and in which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'m> {
    pub(super) object: &'m str,
    pub(super) span: Span,
}

impl<'m> Place<'m> {
    /// Where the settings of a place say one field: at the field, unless nobody knows where that stands.
    pub(super) fn of<T>(self, settings: &'m Settings, setting: Setting<T>) -> Self {
        let place = settings.place(setting);
        let object = place.and_then(|place| place.object.as_deref()).unwrap_or(self.object);
        Self { object, span: place.map_or(self.span, |place| place.span) }
    }
}

impl<'m> From<&'m At> for Place<'m> {
    fn from(at: &'m At) -> Self {
        Self { object: &at.origin.object, span: at.span }
    }
}

/// What was said, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'m, T> {
    pub(super) value: &'m T,
    pub(super) place: Place<'m>,
    pub(super) level: Level,
}

/// Settings in the order in which they are asked.
pub(super) struct Levels<'m>(Vec<(&'m Settings, &'m At, Level)>);

impl<'m> Levels<'m> {
    /// Those for requests to a port of a service; `rule` is the route and rule that they come through, if any.
    pub(super) fn of(
        mesh: &'m Mesh,
        service: ServiceIndex,
        port: u16,
        subset: Option<&str>,
        rule: Option<(usize, usize)>,
    ) -> Self {
        let mut levels = Self(Vec::with_capacity(8));
        let route = rule.and_then(|(route, rule)| Some((route, rule, mesh.routes.get(route)?)));
        if let Some((place, number, route)) = route {
            if let Some(rule) = route.rules.get(number) {
                levels.add(&rule.settings, &rule.at, Level::Near);
            }
            levels.policies(mesh, &TrafficTarget::Rule(place, number), Level::Near);
            levels.policies(mesh, &TrafficTarget::Route(place), Level::Near);
        }
        let target = mesh.service(service);
        if let Some(name) = subset {
            levels.policies(mesh, &TrafficTarget::Subset(service, name.to_owned()), Level::Near);
            if let Some(subset) = target.subsets.get(name) {
                let own = subset.ports.get(&port).unwrap_or(&subset.settings);
                levels.add(own, &subset.at, Level::Near);
            }
        }
        levels.policies(mesh, &TrafficTarget::Port(service, port), Level::Near);
        levels.policies(mesh, &TrafficTarget::Service(service), Level::Near);
        let own = target.port(port).and_then(|port| port.settings.as_ref()).unwrap_or(&target.settings);
        levels.add(own, &target.at, Level::Near);
        if let Some((.., route)) = route {
            levels.add(&route.dialect_defaults, &route.at, Level::Dialect);
        }
        levels.policies(mesh, &TrafficTarget::Mesh, Level::Mesh);
        levels.add(&mesh.defaults, &mesh.at, Level::Mesh);
        levels.add(Settings::built_in(), &mesh.at, Level::BuiltIn);
        levels
    }

    fn add(&mut self, settings: &'m Settings, at: &'m At, level: Level) {
        self.0.push((settings, at, level));
    }

    fn policies(&mut self, mesh: &'m Mesh, target: &TrafficTarget, level: Level) {
        let here = mesh.index.traffic(target).iter().filter_map(|place| mesh.traffic.get(*place));
        self.0.extend(here.map(|policy| (&policy.settings, &policy.at, level)));
    }

    /// What the nearest level that says anything says of one field.
    pub(super) fn get<T>(&self, setting: Setting<T>) -> Option<Said<'m, T>> {
        self.0.iter().find_map(|(settings, at, level)| {
            let value = settings.get(setting)?;
            Some(Said { value, place: Place::from(*at).of(settings, setting), level: *level })
        })
    }
}

/// A limit in milliseconds; none where there is no limit, which a document writes as zero.
pub(super) fn limit(text: weft_bundle::duration::DurationText) -> Option<u128> {
    (!text.is_zero()).then(|| text.get().as_millis())
}

/// The ports of a service with each rule that is attached to them, and with none for what no rule decides.
pub(super) fn passages(
    mesh: &Mesh,
    service: ServiceIndex,
) -> impl Iterator<Item = (&Port, Option<(usize, usize)>)> {
    let own = mesh.service(service);
    let routes = mesh.index.routes(service).iter();
    let routes = routes.filter_map(|place| Some((*place, mesh.routes.get(*place)?)));
    let attached = routes.flat_map(move |(place, route)| {
        let here = move |port: &&Port| {
            route.attachments.iter().any(|a| a.service == service && a.port.is_none_or(|n| n == port.number))
        };
        let ports = own.ports.iter().filter(here);
        ports.flat_map(move |port| (0..route.rules.len()).map(move |rule| (port, Some((place, rule)))))
    });
    own.ports.iter().map(|port| (port, None)).chain(attached)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::routing;
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
    fn levels_are_those_of_the_model() {
        let mesh = crate::compile(&Sources::in_memory([("m.yaml", DOCUMENTS)])).mesh;
        let service = mesh.find("default", "s").unwrap();
        for rule in [None, Some((0, 0)), Some((0, 1))] {
            for subset in [None, Some("a")] {
                let merged = routing::settings(&mesh, service, 80, subset, rule);
                let levels = Levels::of(&mesh, service, 80, subset, rule);
                for field in [
                    Settings::REQUEST,
                    Settings::CONNECT,
                    Settings::IDLE,
                    Settings::POOL_IDLE,
                    Settings::BACKOFF_BASE,
                ] {
                    let said = levels.get(field);
                    assert_eq!(said.map(|said| said.value), merged.get(field), "{rule:?} {subset:?}");
                    // Who says it is also who the merged settings say says it.
                    let place = merged.place(field).map(|place| place.span);
                    assert!(place.is_none_or(|span| said.unwrap().place.span == span), "{}", field.name);
                }
                let attempts = levels.get(Settings::RETRY_ATTEMPTS).map(|said| *said.value);
                assert_eq!(attempts, merged.retry_attempts);
            }
        }
    }
}
