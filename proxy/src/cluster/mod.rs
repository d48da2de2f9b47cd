//! Endpoints, balancing, pools.
