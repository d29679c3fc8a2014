//! Locks of the standard library, taken whether or not they are poisoned.
//!
//! A lock is poisoned when a thread panics while holding it, as a warning to the next one that the value
//! may be half changed. Here that warning is ignored everywhere, for two reasons:
//! - Whoever holds a lock only moves its value from one consistent state to the next, by a few operations
//!   on collections, and neither waits nor calls code of others meanwhile. A new place that holds a lock
//!   has to keep this true, or bring its own answer to a half-changed value.
//! - A panic is our own bug and is reported where it happens. Panicking again in each thread that comes to
//!   the lock would hide the first report, and would turn one failed request into the loss of all.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Takes a [`Mutex`] whether or not it is poisoned; the module says why that is right.
pub trait MutexExt<T: ?Sized> {
    /// Waits for the mutex and holds it until the guard is dropped.
    fn locked(&self) -> MutexGuard<'_, T>;
}

/// Takes an [`RwLock`] whether or not it is poisoned; the module says why that is right.
pub trait RwLockExt<T: ?Sized> {
    /// Waits until nobody writes and holds the lock, beside other readers, until the guard is dropped.
    fn read_locked(&self) -> RwLockReadGuard<'_, T>;

    /// Waits until nobody else holds the lock and holds it alone until the guard is dropped.
    fn write_locked(&self) -> RwLockWriteGuard<'_, T>;
}

impl<T: ?Sized> MutexExt<T> for Mutex<T> {
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> RwLockExt<T> for RwLock<T> {
    fn read_locked(&self) -> RwLockReadGuard<'_, T> {
        self.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_locked(&self) -> RwLockWriteGuard<'_, T> {
        self.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_one_holder_keeps_no_other_from_the_value() {
        let (mutex, rw_lock) = (Mutex::new(1), RwLock::new(2));
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = (mutex.locked(), rw_lock.write_locked());
                std::panic::resume_unwind(Box::new("a bug"));
            });
            holder.join().unwrap_err();
        });
        assert!(mutex.is_poisoned() && rw_lock.is_poisoned());
        *mutex.locked() += 1;
        *rw_lock.write_locked() += 1;
        assert_eq!((*mutex.locked(), *rw_lock.read_locked()), (2, 3));
    }
}
