//! What the compiler has to say, as data; and its renderers.
