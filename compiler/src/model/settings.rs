//! Timeouts, retries and balancing as people set them: each field on its own, nearest level first.
//!
//! Levels, nearest first: rule, route, subset, service, dialect default, mesh. A field that is not set at one level is
//! taken from the next. [`Settings::or`] is that step; the order is [`super::routing::settings`]'s.

use weft_bundle::body::{LoadBalancer, RetryBudget, RetryOn};
use weft_bundle::duration::DurationText;

/// Traffic settings; a field that is `None` leaves the decision to the next level. A timeout of zero means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// From the whole request received to response headers, all tries together.
    pub request: Option<DurationText>,
    /// The same for one try.
    pub per_try: Option<DurationText>,
    /// Between two frames of a body.
    pub idle: Option<DurationText>,
    /// To open a connection.
    pub connect: Option<DurationText>,
    /// Tries after the first; zero means none.
    pub retry_attempts: Option<u32>,
    /// What makes a try count as failed.
    pub retry_on: Option<Vec<RetryOn>>,
    /// Methods that may be tried again after bytes were sent.
    pub retry_methods: Option<Vec<String>>,
    /// The first pause's upper bound.
    pub backoff_base: Option<DurationText>,
    /// The longest pause.
    pub backoff_max: Option<DurationText>,
    /// How many retries there may be at once.
    pub retry_budget: Option<RetryBudget>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
}

impl Settings {
    /// These settings, with what is missing taken from the next level.
    #[must_use]
    pub fn or(self, next: &Self) -> Self {
        Self {
            request: self.request.or(next.request),
            per_try: self.per_try.or(next.per_try),
            idle: self.idle.or(next.idle),
            connect: self.connect.or(next.connect),
            retry_attempts: self.retry_attempts.or(next.retry_attempts),
            retry_on: self.retry_on.or_else(|| next.retry_on.clone()),
            retry_methods: self.retry_methods.or_else(|| next.retry_methods.clone()),
            backoff_base: self.backoff_base.or(next.backoff_base),
            backoff_max: self.backoff_max.or(next.backoff_max),
            retry_budget: self.retry_budget.or(next.retry_budget),
            load_balancer: self.load_balancer.or(next.load_balancer),
        }
    }

    /// The names of the fields that both set, as documents spell them.
    pub fn clashes(&self, other: &Self) -> Vec<&'static str> {
        let both = |name, a: bool, b: bool| (a && b).then_some(name);
        [
            both("timeouts.request", self.request.is_some(), other.request.is_some()),
            both("timeouts.perTry", self.per_try.is_some(), other.per_try.is_some()),
            both("timeouts.idle", self.idle.is_some(), other.idle.is_some()),
            both("timeouts.connect", self.connect.is_some(), other.connect.is_some()),
            both("retry.attempts", self.retry_attempts.is_some(), other.retry_attempts.is_some()),
            both("retry.on", self.retry_on.is_some(), other.retry_on.is_some()),
            both("retry.methods", self.retry_methods.is_some(), other.retry_methods.is_some()),
            both("retry.backoff.base", self.backoff_base.is_some(), other.backoff_base.is_some()),
            both("retry.backoff.max", self.backoff_max.is_some(), other.backoff_max.is_some()),
            both("retry.budget", self.retry_budget.is_some(), other.retry_budget.is_some()),
            both("loadBalancer", self.load_balancer.is_some(), other.load_balancer.is_some()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What holds where nobody says anything: 15 s for a request, 5 min between frames, 1 s to connect, no retries.
    pub fn built_in() -> Self {
        let millis = |millis| Some(DurationText::new(std::time::Duration::from_millis(millis)));
        let safe = ["GET", "HEAD", "OPTIONS", "TRACE"].map(str::to_owned);
        Self {
            request: millis(15_000),
            per_try: None,
            idle: millis(300_000),
            connect: millis(1_000),
            retry_attempts: Some(0),
            retry_on: Some(vec![RetryOn::ConnectFailure, RetryOn::RefusedStream]),
            retry_methods: Some(safe.to_vec()),
            backoff_base: millis(25),
            backoff_max: millis(250),
            retry_budget: Some(RetryBudget { percent: 20, min: 3 }),
            load_balancer: Some(LoadBalancer::PeakEwma),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_wins_field_by_field() {
        let rule = Settings { retry_attempts: Some(2), ..Settings::default() };
        let service = Settings { retry_attempts: Some(5), connect: "2s".parse().ok(), ..Settings::default() };
        let merged = rule.clone().or(&service).or(&Settings::built_in());
        assert_eq!(merged.retry_attempts, Some(2));
        assert_eq!(merged.connect, "2s".parse().ok());
        assert_eq!(merged.request, "15s".parse().ok());
        assert_eq!(rule.clashes(&service), ["retry.attempts"]);
    }
}
