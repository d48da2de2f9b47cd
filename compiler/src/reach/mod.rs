//! Exact reachability of ordered rules.
