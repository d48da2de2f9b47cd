//! Requests from peers to our application.
