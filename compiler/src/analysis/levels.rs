//! Who says what a setting is, for findings that point there.

use crate::model::levels;
pub(super) use crate::model::levels::Level;
use crate::model::settings::Setting;
use crate::model::{At, Mesh, Part, Port, ServiceIndex, Settings, Told};
use crate::yaml::Span;

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

/// The levels that hold for a request, to be asked who says something.
pub(super) struct Levels<'m>(levels::Levels<'m>);

impl<'m> Levels<'m> {
    /// Those for requests that come to a port of a service through a rule, or through none.
    pub(super) fn of(mesh: &'m Mesh, passage: Passage<'m>) -> Self {
        Self(levels::Levels::of(mesh, passage.told, passage.port.number, None, passage.rule))
    }

    /// Those for requests to a service or subset that no rule has a say about.
    pub(super) fn of_part(mesh: &'m Mesh, part: Part<'m>) -> Self {
        let subset = part.subset.map(|(name, _)| name);
        Self(levels::Levels::of(mesh, part.told, part.port.number, subset, None))
    }

    /// What the nearest level that says anything says of one field.
    pub(super) fn get<T>(&self, setting: Setting<T>) -> Option<Said<'m, T>> {
        let (value, settings, at, level) = self.0.nearest(setting)?;
        Some(Said { value, place: Place::from(at).of(settings, setting), level })
    }
}

/// A limit in milliseconds; none where there is no limit, which a document writes as zero.
pub(super) fn limit(text: weft_bundle::duration::DurationText) -> Option<u128> {
    (!text.is_zero()).then(|| text.get().as_millis())
}

/// The way of some callers' requests to a port of a service, through one rule or through none.
#[derive(Clone, Copy)]
pub(super) struct Passage<'m> {
    /// What is called, as the callers are told of it.
    pub(super) told: Told<'m>,
    /// Its port.
    pub(super) port: &'m Port,
    /// Route and rule.
    pub(super) rule: Option<(usize, usize)>,
}

/// The ports of a service with each rule that is attached to them, and with none for what no rule decides; for each group of
/// callers that is told something else.
pub(super) fn passages(mesh: &Mesh, service: ServiceIndex) -> impl Iterator<Item = Passage<'_>> {
    mesh.told(service).flat_map(move |told| {
        let own = told.service;
        let routes = mesh.index.routes(service).iter();
        let routes = routes.filter_map(|place| Some((*place, mesh.routes.get(*place)?)));
        let attached = routes.flat_map(move |(place, route)| {
            let here = move |port: &&Port| {
                let to = |number: Option<u16>| number.is_none_or(|number| number == port.number);
                route.attachments.iter().any(|a| a.service == service && to(a.port) && told.is_in(&a.scope))
            };
            let ports = own.ports.iter().filter(here);
            ports.flat_map(move |port| {
                (0..route.rules.len()).map(move |rule| Passage { told, port, rule: Some((place, rule)) })
            })
        });
        own.ports.iter().map(move |port| Passage { told, port, rule: None }).chain(attached)
    })
}
