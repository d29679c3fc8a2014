//! Which suites do not run beside each other: the runner has a thread per processor, and a suite that loads the
//! whole machine makes every second of another one longer.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::new(());

/// For a suite that holds what it sees against seconds: none that loads the whole machine runs beside it.
#[allow(dead_code)] // Only the suites ask.
pub fn by_the_clock() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// For a suite that loads the whole machine: none that holds what it sees against seconds runs beside it.
#[allow(dead_code)] // As before.
pub fn all_of_the_machine() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}
