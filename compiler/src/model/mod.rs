//! The mesh with every reference bound.
