//! What a process says about its store, and how often.
//!
//! - What only a person can mend ends the process at its start, with one sentence that says what to do and a
//!   status that is not zero.
//! - What time may mend is waited for, with a line when it begins and one when it ends; writes are put off with
//!   the reason.
//! - A graceful stop over a store that takes nothing ends within `--shutdown-timeout` and says what it waits for.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::program::free_port;
use crate::support::servers::{Minio, Promontory, Store};
use crate::support::skipped;
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};

/// Until a process has found out that its store is unusable, on a loaded machine.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(20);
/// How long a store is away while lines are counted.
const OUTAGE: Duration = Duration::from_secs(10);
/// Lines of the log in that time.
const LINES_MAX: usize = 3;
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn store_words_end_what_only_a_person_can_mend() {
    let workdir = Workdir::new("store-words");
    std::fs::write(workdir.join("file"), "").expect("a file");
    let folder = |name: &str| Store::folder(&workdir.join(name));
    refused(&workdir, "file", &folder("file"), "it is a file and not a folder");
    refused(&workdir, "below-file", &folder("file/below"), "lies below a file");
    check_unwritable(&workdir);
    let nobody = format!("s3://metrics/x?endpoint=http://127.0.0.1:{}", free_port());
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let without = Store::at(nobody).without_credentials().with_variable("AWS_METADATA_ENDPOINT", nowhere);
    refused(&workdir, "no-credentials", &without, "there are no credentials");
}

#[test]
fn store_words_of_minio_end_what_only_a_person_can_mend() {
    let suite = "store_words: MinIO";
    let binary = match tool("minio") {
        Ok(binary) => binary,
        Err(reason) => return skipped(suite, &reason),
    };
    let workdir = Workdir::new("store-words-minio");
    let minio = Minio::start(&binary, workdir.path());
    let port = minio.port();
    let at = |bucket: &str, scheme: &str| {
        Store::at(format!("s3://{bucket}/x?endpoint={scheme}://127.0.0.1:{port}"))
    };
    let metrics = at("metrics", "http");
    let wrong = "the store does not accept the access key or its secret";
    refused(&workdir, "no-bucket", &at("nosuch", "http"), "the bucket does not exist; create it");
    refused(&workdir, "bad-bucket", &at("b", "http"), "the store refuses the name of the bucket");
    refused(&workdir, "tls", &at("metrics", "https"), "no trusted TLS connection can be made");
    let store = metrics.clone().with_variable("AWS_SECRET_ACCESS_KEY", "wrong".to_owned());
    refused(&workdir, "wrong-secret", &store, wrong);
    let store = metrics.clone().with_variable("AWS_ACCESS_KEY_ID", "nobody".to_owned());
    refused(&workdir, "wrong-key", &store, wrong);
}

/// The process ends, with one sentence.
fn refused(workdir: &Workdir, name: &str, store: &Store, words: &str) {
    let mut process = Promontory::begin(name, workdir.path(), store, &[]);
    let status = process.program().wait(REFUSAL_DEADLINE);
    let log = process.log();
    assert_eq!(status.code(), Some(1), "{name}: {log}");
    let said: Vec<&str> = log.lines().filter(|line| !line.contains("level=INFO")).collect();
    let [sentence] = said[..] else { panic!("{name}: not one sentence: {log}") };
    assert!(sentence.starts_with("promontory: cannot use store "), "{name}: {sentence}");
    assert!(sentence.contains(words), "{name}: {sentence}");
    for secret in ["promontory-secret", "StringToSign", "<Error>"] {
        assert!(!sentence.contains(secret), "{name}: {sentence}");
    }
}

fn check_unwritable(workdir: &Workdir) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = workdir.folder("unwritable");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).expect("a mode");
    if std::fs::write(folder.join("try"), "").is_ok() {
        return skipped("store_words: an unwritable folder", "this user may write everywhere");
    }
    let words = "this process may not read and write in the folder";
    refused(workdir, "unwritable", &Store::folder(&folder), words);
}

#[test]
fn store_words_name_both_flags_that_do_not_fit() {
    let workdir = Workdir::new("store-words-flags");
    let store = Store::folder(&workdir.join("data"));
    let mut process = Promontory::begin("flags", workdir.path(), &store, &["--compactor.adopt-after=10s"]);
    let status = process.program().wait(REFUSAL_DEADLINE);
    let log = process.log();
    assert_eq!((status.code(), log.lines().count()), (Some(1), 1), "{log}");
    assert!(
        log.contains("--compactor.adopt-after (10s)") && log.contains("--ingester.idle-interval (30s)"),
        "{log}"
    );
}

#[test]
fn store_words_of_a_store_that_is_away_at_the_start_are_few() {
    let workdir = Workdir::new("store-words-away");
    let store = Store::at(format!("s3://metrics/x?endpoint=http://127.0.0.1:{}", free_port()));
    let mut process = Promontory::begin("away", workdir.path(), &store, &[]);
    pause(OUTAGE);
    assert!(process.program().is_alive(), "{}", process.log());
    assert!(process.client.get("/-/ready", &[]).is_ok_and(|answer| answer.status == 503));
    check_lines("at the start", &process.log(), "cannot open the object store");
    let begun = Instant::now();
    assert!(process.terminate().success(), "{}", process.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "a process that waits for its store stops at once");
}

#[test]
fn store_words_of_an_outage_are_few_and_a_stop_ends() {
    let suite = "store_words: an outage";
    let binary = match tool("minio") {
        Ok(binary) => binary,
        Err(reason) => return skipped(suite, &reason),
    };
    let workdir = Workdir::new("store-words-outage");
    let mut minio = Minio::start(&binary, workdir.path());
    let flags = ["--ingester.append-timeout=2s", "--ingester.block-interval=3s", "--shutdown-timeout=7s"];
    let store = Store::minio(&minio, "words");
    let mut process = Promontory::start("outage", workdir.path(), &store, &flags);
    assert_eq!(send(&process).0, 204);

    minio.terminate();
    let before = process.log().len();
    let (status, text) = send(&process);
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("the store cannot be reached"), "{text}");
    pause(OUTAGE);
    check_lines("an outage", &process.log()[before..], "the store cannot be reached");

    minio.restart();
    wait_for("the end of the outage to be logged", RECOVERY_DEADLINE, || {
        let log = process.log();
        let ends = log[before..].lines().filter(|line| line.contains("works again")).count();
        if ends == 1 { Ok(()) } else { Err(format!("{ends} lines: {}", &log[before..])) }
    });
    assert_eq!(send(&process).0, 204);

    minio.terminate();
    let begun = Instant::now();
    assert_eq!(process.terminate().code(), Some(1), "{}", process.log());
    assert!(begun.elapsed() < Duration::from_secs(10), "stopped after {:?}", begun.elapsed());
    let log = process.log();
    assert!(log.contains("waits_for=ingester"), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(
        last.contains("--shutdown-timeout (7s)") && last.contains("the store cannot be reached"),
        "{last}"
    );
    minio.restart();
    process.restart();
    assert!(process.terminate().success());
    store.command(&["fsck"]);
}

#[test]
fn store_words_name_a_full_disk() {
    let workdir = Workdir::new("store-words-full");
    let disk = match SmallDisk::mount(workdir.folder("disk")) {
        Ok(disk) => disk,
        Err(reason) => return skipped("store_words: a full disk", &reason),
    };
    let flags = ["--ingester.append-timeout=2s"];
    let store = Store::folder(&disk.folder.join("data"));
    let mut process = Promontory::start("full", workdir.path(), &store, &flags);
    assert_eq!(send(&process).0, 204);
    let ballast = disk.folder.join("ballast");
    // As much as there is room for.
    let _ = std::fs::write(&ballast, vec![0; SmallDisk::BYTES]);
    let before = process.log().len();
    let (status, text) = send(&process);
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("no space is left on the device"), "{text}");
    check_lines("a full disk", &process.log()[before..], "no space is left on the device");
    std::fs::remove_file(&ballast).expect("the ballast is there");
    wait_for("room to be used again", RECOVERY_DEADLINE, || match send(&process) {
        (204, _) => Ok(()),
        (_, text) => Err(text),
    });
    assert!(process.terminate().success(), "{}", process.log());
}

/// A file system in memory, unmounted when dropped.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    const BYTES: usize = 4 << 20;

    fn mount(folder: PathBuf) -> Result<Self, String> {
        let size = format!("size={}", Self::BYTES);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(&folder);
        let output = mount.output().map_err(|error| format!("mount: {error}"))?;
        if output.status.success() {
            return Ok(Self { folder });
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn send(process: &Promontory) -> (u16, String) {
    let mut request = Request::default();
    request.series(&[("__name__", "words")], &[(now_ms() - 60_000, 1.0)]);
    let answer = write::send(&process.client, request.body()).expect("an answer");
    (answer.status, answer.text())
}

/// Of any level, without the first line of a process.
fn check_lines(when: &str, log: &str, words: &str) {
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("msg=listening")).collect();
    assert!((1..=LINES_MAX).contains(&lines.len()), "{when}: {} lines: {log}", lines.len());
    assert!(lines.iter().any(|line| line.contains(words)), "{when}: {log}");
}
