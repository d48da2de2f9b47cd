//! The test bench: processes, upstreams and clients on loopback.
