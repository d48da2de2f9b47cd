//! `-- APP`: runs the application behind the proxy.
