//! JSON Schemas of the Weft kinds.
