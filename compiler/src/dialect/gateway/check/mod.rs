//! What can be wrong with a document of Gateway API by itself: the rules that the CRDs have as schema and as CEL, and
//! everything that cannot be honoured exactly. One file per kind; what kinds share is in `route` and `filter`.

mod route;
mod http;
mod filter;
mod session;
mod grpc;
mod layer4;
mod listener;
mod gateway;
mod policy;
