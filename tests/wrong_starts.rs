//! Starts that go wrong: one sentence that names the flag and what would be right, an exit status, and no third line.
//! And what must not end a process: SIGHUP, and a log that nobody reads.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::clock::wait_for;
use crate::support::http::Client;
use crate::support::program::{free_port, step_back};
use crate::support::servers::{Promontory, Store};
use crate::support::tools::promontory_binary;
use crate::support::workdir::Workdir;

/// A start that is refused ends in less.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const LINES_MAX: usize = 3;

#[test]
fn wrong_starts_say_in_a_sentence_what_is_wrong() {
    let workdir = Workdir::new("wrong-starts");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("--web.listen-address={}", taken.local_addr().expect("an address"));
    let file = workdir.join("a-file");
    std::fs::write(&file, "x").expect("a file");
    let store_is_file = format!("--store={}", file.display());
    for (flag, words) in [
        ("--store=s3:bucket/prefix", &["s3:bucket/prefix", "s3://bucket/prefix"][..]),
        ("--store=minio:9000/bucket", &["minio:9000/bucket", "s3://bucket/prefix"]),
        ("--store=ftp://x/y", &["ftp", "s3"]),
        ("--store=", &["store must not be empty"]),
        (&store_is_file, &["a-file"]),
        (&taken, &["cannot listen on", "--web.listen-address"]),
        ("--web.listen-address=nonsense", &["--web.listen-address", "nonsense"]),
        ("--log.level=verbose", &["--log.level", "verbose", "debug"]),
        ("--log.level=info,loud", &["--log.level", "loud"]),
        ("--log.format=xml", &["--log.format", "logfmt"]),
        ("--query.max-memory=2XB", &["--query.max-memory", "2XB", "512MB"]),
        ("--query.max-memory=-1", &["--query.max-memory"]),
        ("--cache.samples=100000GB", &["--cache.samples", "memory"]),
        ("--head.max-memory=100000GB", &["--head.max-memory", "memory"]),
        ("--ingester.block-interval=10d", &["--ingester.block-interval", "1d"]),
        ("--ingester.flush-interval=1ms", &["--ingester.flush-interval", "200ms"]),
        ("--query.timeout=soon", &["--query.timeout", "soon"]),
        ("--query.timeout=5", &["--query.timeout"]),
        ("--role=scraper", &["--role", "scraper", "querier"]),
        ("--enable-feature=colour", &["--enable-feature", "colour"]),
        ("--auth.multitenancy-enabled=maybe", &["--auth.multitenancy-enabled", "maybe"]),
        ("--web.cors.origin=(", &["--web.cors.origin"]),
        ("--querry.timeout=1m", &["--querry.timeout", "--query.timeout"]),
        ("now", &["now"]),
    ] {
        let begun = Instant::now();
        let mut command = command();
        let free = format!("--web.listen-address=127.0.0.1:{}", free_port());
        if !flag.starts_with("--web.listen-address") && flag != "now" {
            command.arg(free);
        }
        let output = command.arg(flag).current_dir(workdir.path()).output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && begun.elapsed() < REFUSED_WITHIN, "{flag}: {text}");
        for word in words {
            assert!(text.contains(word), "{flag}: {word} in {text}");
        }
        let said = text.lines().filter(|line| !line.trim().is_empty() && !line.contains(" level=INFO "));
        assert!(said.count() <= LINES_MAX, "{flag}: {text}");
        assert!(!text.contains("panicked"), "{flag}: {text}");
    }
}

#[test]
fn flags_take_units_and_variables_and_odd_variables_are_named() {
    let workdir = Workdir::new("odd-starts");
    let port = free_port();
    let flags = ["--query.max-memory=2GB", "--limits.write-body=16mb", "--auth.multitenancy-enabled=0"];
    let mut command = command();
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).args(flags);
    command.env("PROMONTORY_TENANT_FEDERATION_ENABLED", "1").env("PROMONTORY_QUERY_MAX_LENGHT", "1");
    command.env("PROMONTORY_SERVICE_HOST", "10.0.0.1").env("PROMONTORY_PORT_9090_TCP", "tcp://10.0.0.1:9090");
    let log = std::fs::File::create(workdir.join("log")).expect("a log");
    let mut child =
        command.current_dir(workdir.path()).stderr(log).stdout(Stdio::null()).spawn().expect("it runs");
    let client = Client::new(port);
    wait_until_ready(&client);
    let shown = client.get("/api/v1/status/flags", &[]).expect("an answer").json();
    for (flag, value) in [
        ("query.max-memory", "2GB"),
        ("tenant-federation.enabled", "true"),
        ("auth.multitenancy-enabled", "false"),
    ] {
        assert_eq!(shown["data"][flag], value, "{flag}");
    }
    child.kill().and_then(|()| child.wait()).expect("it ends");
    let log = std::fs::read_to_string(workdir.join("log")).expect("a log");
    assert!(
        log.contains("PROMONTORY_QUERY_MAX_LENGHT") && log.contains("is PROMONTORY_QUERY_MAX_LENGTH meant?"),
        "{log}"
    );
    assert!(!log.contains("PROMONTORY_SERVICE_HOST") && !log.contains("PROMONTORY_PORT_9090_TCP"), "{log}");
    let first = log.lines().next().unwrap_or_default();
    assert!(first.contains("version=") && first.contains("revision="), "{first}");
}

#[test]
fn neither_a_hangup_nor_a_closed_log_ends_a_process() {
    let workdir = Workdir::new("hangup");
    let mut server =
        Promontory::start("promontory", workdir.path(), &Store::folder(&workdir.join("data")), &[]);
    server.program().signal("HUP");
    wait_for("the hangup to be logged", REFUSED_WITHIN, || {
        if server.log().contains("SIGHUP") { Ok(()) } else { Err("not yet".into()) }
    });
    assert!(server.program().is_alive());
    assert!(server.terminate().success());

    // Both streams are closed before the program starts.
    let port = free_port();
    let binary = promontory_binary();
    let line = format!(
        "exec '{}' --web.listen-address=127.0.0.1:{port} --log.level=debug >&- 2>&-",
        binary.display()
    );
    let mut child =
        Command::new("sh").args(["-c", &line]).current_dir(workdir.path()).spawn().expect("it runs");
    let client = Client::new(port);
    wait_until_ready(&client);
    for _ in 0..20 {
        assert_eq!(client.get("/api/v1/query", &[("query", "up")]).expect("an answer").status, 200);
    }
    assert!(child.try_wait().expect("its status").is_none(), "it has ended");
    child.kill().and_then(|()| child.wait()).expect("it ends");
}

fn command() -> Command {
    let mut command = Command::new(promontory_binary());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMONTORY_")) {
        command.env_remove(name);
    }
    command
}

fn wait_until_ready(client: &Client) {
    wait_for("the program to be ready", Duration::from_secs(60), || {
        step_back();
        let answer = client.get("/-/ready", &[])?;
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    });
}
