//! More of what the admin pages show.

use serde_json::{Map, Value, json};

use super::DataPlane;
use crate::identity::describe;
use crate::telemetry::Direction;

impl DataPlane {
    /// Our certificate, and whom we believe. Never a key.
    pub fn describe_certificates(&self) -> Value {
        let identity = self.shared.identity.current();
        let snapshot = self.snapshot();
        let anchors = snapshot.iter().flat_map(|snapshot| &snapshot.body().trust_anchors);
        let anchors: Map<String, Value> =
            anchors.map(|(domain, anchors)| (domain.to_string(), describe::anchors(anchors))).collect();
        json!({"identity": identity.map(|identity| describe::identity(&identity)), "trust_anchors": anchors})
    }

    /// The policy that runs, as it was verified.
    pub fn describe_config(&self) -> Value {
        let Some(snapshot) = self.snapshot() else { return json!({"body": null}) };
        let generation = &snapshot.generation;
        json!({"sequence": generation.sequence, "digest": generation.digest, "stale": generation.stale,
            "body": **snapshot.engine.body()})
    }

    /// Who comes in clear text to ports that take both.
    pub fn describe_clear_text(&self) -> Value {
        self.shared.clear_text.describe()
    }

    /// Whether the end has begun, and what is still under way.
    pub fn describe_drain(&self) -> Value {
        let under_way = |direction| json!({"requests": self.requests_in_flight(direction), "connections": self.open_connections(direction)});
        json!({"draining": self.not_ready() == Some(super::NotReady::Draining),
            "inbound": under_way(Direction::Inbound), "outbound": under_way(Direction::Outbound)})
    }
}
