//! The real clock, the real source of randomness, the memory of the machine, and what was built; everything else
//! takes them as arguments.

use promontory_model::{Clock, RandomSource};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built; see `build.rs`.
pub const REVISION: &str = match option_env!("PROMONTORY_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The machine's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::now();
        match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }
}

/// The operating system's randomness, through a per-thread generator that it seeds.
#[derive(Clone, Copy, Debug)]
pub struct OsRandom;

impl RandomSource for OsRandom {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}

/// What the machine is taken to have where it does not say.
const MEMORY_BYTES_UNKNOWN: u64 = 4 << 30;

/// As [`memory_bytes`], and a cautious guess where it is not known.
#[must_use]
pub fn memory_bytes_or_guess() -> u64 {
    memory_bytes().unwrap_or(MEMORY_BYTES_UNKNOWN)
}

/// Bytes of memory that this process may use: what the machine has, or less where a control group says
/// so. `None` where neither is known.
///
/// Source: `MemTotal` of proc(5), `memory.max` of the kernel's cgroup-v2, `memory.limit_in_bytes` of
/// cgroup-v1.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| meminfo_total(&text));
    let group = read("/sys/fs/cgroup/memory.max")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
        .and_then(|text| text.trim().parse().ok());
    [machine, group].into_iter().flatten().min()
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_meminfo_is_in_kib() {
        let text = "MemFree:  5 kB\nMemTotal:       24627416 kB\nBuffers: 1 kB\n";
        assert_eq!(meminfo_total(text), Some(24_627_416 * 1024));
        assert_eq!(meminfo_total("MemTotal: many kB"), None);
    }
}
