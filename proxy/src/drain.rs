//! The end: what is under way is finished, nothing new is taken.
//!
//! Inbound goes first, and says so on `/ready` before it closes anything. Outbound stays up until the application has
//! ended, or until nothing is under way: an application that shuts down still calls others (linkerd/linkerd2#10379).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::telemetry::Direction;
use crate::worker::DataPlane;

/// How often to look whether all is quiet.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long the application goes without its signal while inbound requests finish.
const APPLICATION_GRACE: Duration = Duration::from_secs(5);

/// A wish for the end, which an operator may have.
#[derive(Clone, Debug, Default)]
pub struct DrainRequest(Arc<(AtomicBool, Notify)>);

impl DrainRequest {
    /// Wishes it. A second time changes nothing.
    pub fn ask(&self) {
        if !self.0.0.swap(true, Ordering::AcqRel) {
            self.0.1.notify_one();
        }
    }

    /// Whether anybody did.
    pub fn is_asked(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits until somebody does. It is heard once, by one who waits; nothing is lost if nobody does yet.
    pub async fn asked(&self) {
        self.0.1.notified().await;
    }
}

/// When the process ends, whatever is still under way.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// The moment.
    pub fn at(self) -> Instant {
        self.0
    }
}

/// Stops taking requests from peers and waits for those under way, but not past the deadline. True if all ended.
pub async fn inbound(plane: &DataPlane, deadline: Deadline) -> bool {
    plane.drain(Direction::Inbound);
    quiet(plane, Direction::Inbound, deadline.0).await
}

/// The same, for at most the time that an application can wait for its signal.
pub async fn inbound_for_application(plane: &DataPlane, deadline: Deadline) -> bool {
    plane.drain(Direction::Inbound);
    quiet(plane, Direction::Inbound, deadline.0.min(Instant::now() + APPLICATION_GRACE)).await
}

/// Waits until our application has no request under way, then closes its side too. True if all ended in time.
pub async fn outbound(plane: &DataPlane, deadline: Deadline) -> bool {
    let idle = async {
        while plane.requests_in_flight(Direction::Outbound) > 0 {
            sleep(LOOK_EVERY).await;
        }
    };
    // Past the deadline the rest is cut off.
    let _ = timeout_at(deadline.0, idle).await;
    plane.drain(Direction::Outbound);
    quiet(plane, Direction::Outbound, deadline.0).await
}

async fn quiet(plane: &DataPlane, direction: Direction, deadline: Instant) -> bool {
    let busy = || plane.requests_in_flight(direction) > 0 || plane.open_connections(direction) > 0;
    let wait = async {
        while busy() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout_at(deadline, wait).await.is_ok()
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::testing::{Client, Speaks, full, plane_with, reply, serves, upstream};

    async fn finishes_what_is_under_way(speaks: Speaks) {
        let (release, released) = watch::channel(false);
        let application = upstream(Speaks::Http1, move |_| {
            let mut released = released.clone();
            async move {
                released.wait_for(|released| *released).await.unwrap();
                reply("done")
            }
        })
        .await;
        let plane = plane_with(&serves(application, "off", &json!({})));
        let address = plane.inbound_address("http").unwrap();
        let mut client = Client::connect(address, speaks).await;
        let request = client.request(Method::GET, "/").body(full("")).unwrap();
        let slow = tokio::spawn(async move { client.send(request).await });
        crate::testing::until("the request is there", || plane.requests_in_flight(Direction::Inbound) == 1)
            .await;

        let soon = Deadline::after(Duration::from_millis(50));
        assert!(!inbound(&plane, soon).await, "one request is still under way");
        crate::testing::until("nobody is let in", || std::net::TcpStream::connect(address).is_err()).await;
        release.send(true).unwrap();
        assert!(inbound(&plane, Deadline::after(Duration::from_secs(20))).await);
        assert_eq!(slow.await.unwrap().unwrap().text, "done");
        assert!(outbound(&plane, Deadline::after(Duration::from_secs(20))).await);
        plane.stop();
    }

    #[tokio::test]
    async fn who_says_nothing_does_not_hold_it_up_and_who_does_is_answered() {
        let application = crate::testing::says("done").await;
        let plane = plane_with(&serves(application, "off", &json!({})));
        let address = plane.inbound_address("http").unwrap();
        let mut late = Client::connect(address, Speaks::Http1).await;
        let _silent = Client::connect(address, Speaks::Http1).await;
        crate::testing::until("both are there", || plane.open_connections(Direction::Inbound) == 2).await;
        let plane = std::sync::Arc::new(plane);
        let draining = std::sync::Arc::clone(&plane);
        let drained =
            tokio::spawn(async move { inbound(&draining, Deadline::after(Duration::from_secs(20))).await });
        crate::testing::until("nobody is let in", || std::net::TcpStream::connect(address).is_err()).await;
        assert_eq!(late.get("/").await.text, "done", "it was connected before");
        assert!(drained.await.unwrap());
    }

    #[tokio::test]
    async fn http1_finishes_what_is_under_way() {
        finishes_what_is_under_way(Speaks::Http1).await;
    }

    #[tokio::test]
    async fn http2_finishes_what_is_under_way() {
        finishes_what_is_under_way(Speaks::Http2).await;
    }
}
