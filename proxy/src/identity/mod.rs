//! Workload certificates, SPIFFE identities and TLS configurations.
