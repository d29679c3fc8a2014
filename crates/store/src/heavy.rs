//! Work that takes longer than a request may hold a thread of the runtime.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs work that may take longer than a request: other tasks of this thread move to another one.
///
/// On the simulator's single thread it simply runs.
pub(crate) fn heavy<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
