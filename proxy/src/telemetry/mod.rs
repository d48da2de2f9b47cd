//! Metrics, access log, the closed list of reasons.
