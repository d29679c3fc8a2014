//! What the suites of this folder share: a runtime as the binary gives the engine.

use promontory_query::THREAD_STACK_BYTES;
use tokio::runtime::{Builder, Runtime};

/// Two threads, each with the stack that deep expressions need.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .unwrap()
}
