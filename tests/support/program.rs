//! A real process: started with its output in a log, signalled by its id, killed when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::clock::wait_for;

/// A running program.
pub struct Program {
    name: String,
    child: Child,
}

impl Program {
    /// Starts `command`; what it prints is added to `<folder>/<name>.log`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// True while the process has not ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If the process is still there after `deadline`.
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(deadline)
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If the process is still there after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        wait_for(&format!("{} to end", self.name), deadline, || {
            self.child.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| "still runs".to_owned())
        })
    }

    /// SIGSTOP: the process stands still in the middle of whatever it does.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal by name. The shell's own `kill` does it: calling it directly needs `unsafe`.
    pub fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.id());
        let status = Command::new("sh").arg("-c").arg(script).status().expect("sh is there");
        assert!(status.success(), "cannot signal {}", self.name);
    }

    /// Resident memory in bytes; `None` where there is no `/proc`.
    #[allow(dead_code)] // Only benches/ asks.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most resident memory that it ever had, in bytes.
    pub fn resident_peak_bytes(&self) -> Option<u64> {
        self.status_kib("VmHWM:")
    }

    /// Processor time used so far, user and system; `None` where there is no `/proc`.
    #[allow(dead_code)] // Only benches/ asks.
    pub fn cpu_time(&self) -> Option<Duration> {
        // Linux counts in hundredths of a second on every platform that this runs on.
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        // The second field is the name in parentheses, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = |nth: usize| fields.split(' ').nth(nth)?.parse::<u32>().ok();
        Some(TICK * (ticks(11)? + ticks(12)?))
    }

    fn status_kib(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib << 10)
    }
}

/// Lets everything else on this machine run before this thread, where there is `renice`: senders of a load
/// elsewhere would not compete with what they load for its processors.
pub fn step_back() {
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(id) = thread.file_name() else { return };
    let renice = Command::new("renice")
        .args(["-n", "19", "-p"])
        .arg(id)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // Without it the suite is harder to pass, not easier.
    drop(renice);
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that nobody listens on, given out once per process.
///
/// Below the range from which the kernel takes ports of outgoing connections, so that the port is
/// still free when a killed program wants it again.
pub fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + offset.wrapping_mul(7).wrapping_add(step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
