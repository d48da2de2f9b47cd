//! `weft trace`.
