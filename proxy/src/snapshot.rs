//! Everything one generation of policy needs at run time, behind one pointer.
