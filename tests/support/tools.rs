//! Programs from outside: found where `scripts/install-tools` puts them, installed by it if they are
//! missing.
//!
//! `PROMONTORY_TOOLS` names the folder, `PROMONTORY_NO_INSTALL` forbids to install anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The root of the repository.
pub fn repository() -> PathBuf {
    let mut ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = ancestors.find(|folder| folder.join("scripts/install-tools").exists());
    root.expect("the repository is where it was built from").to_owned()
}

/// The product's binary: the one that cargo built for this test, or what `PROMONTORY_BINARY` names.
pub fn promontory_binary() -> PathBuf {
    let named = std::env::var_os("PROMONTORY_BINARY").map(PathBuf::from);
    let built = option_env!("CARGO_BIN_EXE_promontory").map(PathBuf::from);
    named.or(built).expect("PROMONTORY_BINARY names the binary where cargo did not build one")
}

/// The path of one tool.
///
/// # Errors
/// Why the tool cannot be had, in words for the line that says that a suite is skipped.
pub fn tool(name: &str) -> Result<PathBuf, String> {
    let folder = folder()?;
    let path = folder.join("bin").join(name);
    if std::env::var_os("PROMONTORY_NO_INSTALL").is_none() {
        install(name)?;
    }
    let reason = || match std::fs::read_to_string(folder.join(format!("{name}.skipped"))) {
        Ok(reason) => format!("{name}: {}", reason.trim()),
        Err(_) => format!("{name} is not in {} and PROMONTORY_NO_INSTALL is set", folder.display()),
    };
    if path.exists() { Ok(path) } else { Err(reason()) }
}

fn folder() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("PROMONTORY_TOOLS") {
        return Ok(folder.into());
    }
    let home = std::env::var_os("HOME").ok_or("neither PROMONTORY_TOOLS nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/promontory/tools"))
}

/// Runs the script, which does nothing if the tool is there in the pinned version.
fn install(name: &str) -> Result<(), String> {
    // The script locks across processes; this keeps threads of one process from queueing there.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let script = repository().join("scripts/install-tools");
    let status = Command::new(&script).arg(name).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} {name}: {status}", script.display())),
        Err(error) => Err(format!("cannot run {}: {error}", script.display())),
    }
}
