//! Requests from our application to other services.
