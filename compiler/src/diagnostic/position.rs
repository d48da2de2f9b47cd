//! Lines and columns of byte offsets.
