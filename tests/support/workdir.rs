//! One folder per test, removed at its end; after a failure it stays, and its logs are shown.

use std::path::{Path, PathBuf};

use super::say;

/// How much of each log is shown after a failure.
const LOG_LINES_SHOWN: usize = 40;

/// The folder of one test.
pub struct Workdir {
    dir: Option<tempfile::TempDir>,
}

impl Workdir {
    /// A fresh folder.
    pub fn new(suite: &str) -> Self {
        let prefix = format!("promontory-{suite}-");
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary folder");
        Self { dir: Some(dir) }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        self.dir.as_ref().expect("present until dropped").path()
    }

    /// A path inside it, not created.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A folder inside it, created.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(&path).expect("a folder inside the temporary one");
        path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Some(dir) = self.dir.take() else { return };
        let path = dir.keep();
        show_logs(&path);
        say(&format!("kept for a look: {}", path.display()));
    }
}

fn show_logs(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|ext| ext == "log"));
    logs.sort();
    for log in logs {
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        say(&format!("--- last lines of {}", log.display()));
        for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
            say(line.get(..400).unwrap_or(line));
        }
    }
}
