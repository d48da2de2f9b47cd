//! `weft schema`.
