//! One thread per core: accept and serve.
