//! Wall-clock time and waiting. The product takes its clock as an argument; a test of real programs
//! lives in real time, so the two banned calls are allowed here and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(20);

/// Milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods)]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(since.as_millis()).expect("milliseconds fit")
}

/// Stops this thread for a while.
#[allow(clippy::disallowed_methods)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Waits until `probe` answers.
///
/// # Panics
/// With the name and the last reason, if that takes longer than `deadline`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        let reason = match probe() {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(started.elapsed() < deadline, "waited {deadline:?} for {what}: {reason}");
        pause(POLL);
    }
}
