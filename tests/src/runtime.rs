//! The one background thread that upstreams and clients run on, so that tests can be plain blocking code.

use std::future::Future;
use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

/// The runtime of the background thread; started on first use.
pub fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs nothing but a few file descriptors");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("bench".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a thread can be started");
        handle
    })
}

/// Runs a future to its end; its sockets and timers are driven by the background thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    handle().block_on(future)
}
