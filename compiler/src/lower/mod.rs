//! The model, lowered to one body per service.
