//! The compiled policy of one service.
