//! A newcomer follows `docs/tutorial.md`: the fenced blocks of the page are run in order, as typed, and
//! what they print is looked at.
//!
//! What a block is for stands behind its first fence, where readers do not see it:
//!
//! ```text
//! sh           typed and waited for; typed again until it shows what it should
//! sh server    left running, as in a terminal of its own
//! yaml <name>  saved as that file
//! sql          typed into DuckDB
//! text         what it may look like; not run
//! ```
//!
//! Everything that is replaced:
//! - `cargo run --release --locked`, with or without ` --`, by the binary that cargo built for tests;
//! - `127.0.0.1:9090` and `127.0.0.1:9091` by free ports, and the first of them also where the program
//!   would take it without being told, by `PROMONTORY_WEB_LISTEN_ADDRESS`;
//! - the root of the clone by an empty folder;
//! - `cargo test --workspace --locked` is left out: it is what runs this test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::clock::{pause, wait_for};
use crate::support::http::Client;
use crate::support::program::{Program, free_port};
use crate::support::tools::{promontory_binary, repository, tool};
use crate::support::workdir::Workdir;
use crate::support::{say, skipped};

const SUITE: &str = "tutorial";
/// Longer than a block interval with its spread, on a busy machine.
const STEP_DEADLINE: Duration = Duration::from_secs(300);
/// Between two tries of a step.
const AGAIN: Duration = Duration::from_secs(2);
/// The tests themselves, which the page also tells to run.
const TESTS: &str = "cargo test --workspace --locked";

/// What a step must show: a part of the step, and parts of what it prints. Each step has exactly one.
const EXPECTED: [(&str, &[&str]); 8] = [
    ("cargo run --release --locked\n", &["Promontory is ready on http://127.0.0.1:"]),
    ("prometheus --config.file", &["Server is ready to receive web requests"]),
    (
        "/api/v1/query ",
        &[
            r#"{"status":"success","data":{"resultType":"vector""#,
            r#"{"metric":{"job":"prometheus"},"value":["#,
            r#"{"metric":{"job":"promontory"},"value":["#,
        ],
    ),
    ("/api/v1/query_range", &[r#""resultType":"matrix""#, r#""job":"promontory""#, r#""values":[["#]),
    (
        "/api/v1/sql",
        &[
            r#"{"status":"success","data":{"columns":[{"name":"job","#,
            r#"["prometheus","#,
            r#"["promontory","#,
        ],
    ),
    ("blocks ls", &["/series.parquet", "/samples.parquet"]),
    ("SET VARIABLE", &["prometheus\t", "promontory\t", "\t1.0"]),
    ("fsck", &["no problems"]),
];

#[test]
fn the_tutorial_works_as_typed() {
    let prometheus = match tool("prometheus") {
        Ok(prometheus) => prometheus,
        Err(reason) => return skipped(SUITE, &reason),
    };
    if let Err(error) = Command::new("curl").arg("--version").stdout(Stdio::null()).status() {
        return skipped(SUITE, &format!("curl: {error}"));
    }
    let page = std::fs::read_to_string(repository().join("docs/tutorial.md")).expect("the page");
    let workdir = Workdir::new(SUITE);
    let mut newcomer = Newcomer::new(workdir.path(), prometheus.parent().expect("a folder of tools"));
    let blocks = blocks(&page);
    for (place, parts) in EXPECTED {
        let of = blocks.iter().filter(|block| block.is_step() && block.text.contains(place)).count();
        assert_eq!(of, 1, "one step with {place:?}, which shows {parts:?}");
    }
    for block in &blocks {
        newcomer.follow(block);
    }
    assert_eq!(newcomer.n_steps + newcomer.n_skipped, EXPECTED.len());
}

/// One fenced block.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// What stands behind the first fence.
    info: String,
    text: String,
    /// Of the first fence, from 1.
    line: usize,
}

impl Block {
    fn is_step(&self) -> bool {
        (self.info.starts_with("sh") || self.info == "sql") && self.text.trim_end() != TESTS
    }

    /// The parts of the output that a step must show.
    fn expected(&self) -> &'static [&'static str] {
        let found = EXPECTED.iter().find(|(place, _)| self.text.contains(place));
        found.unwrap_or_else(|| panic!("tutorial line {}: nothing is expected of this step", self.line)).1
    }
}

/// The fenced blocks of a page in order.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(info) if !open => {
                blocks.push(Block { info: info.to_owned(), text: String::new(), line: number + 1 });
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                let block = blocks.last_mut().expect("it is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// Who types what the page says.
struct Newcomer<'a> {
    folder: &'a Path,
    tools: &'a Path,
    ports: [u16; 2],
    servers: Vec<Program>,
    n_steps: usize,
    n_skipped: usize,
}

impl<'a> Newcomer<'a> {
    fn new(folder: &'a Path, tools: &'a Path) -> Self {
        let ports = [free_port(), free_port()];
        Self { folder, tools, ports, servers: Vec::new(), n_steps: 0, n_skipped: 0 }
    }

    fn follow(&mut self, block: &Block) {
        match block.info.split_once(' ').unwrap_or((&block.info, "")) {
            ("sh", _) if block.text.trim_end() == TESTS => {}
            ("sh", "server") => self.start(block),
            ("sh", "") => self.repeat(block, &self.shell(&self.replaced(&block.text))),
            ("sql", "") => match tool("duckdb-python") {
                Ok(python) => self.repeat(block, &|| duckdb(&python, self.folder, &block.text)),
                Err(reason) => {
                    skipped("tutorial with DuckDB", &reason);
                    self.n_skipped += 1;
                }
            },
            ("yaml", name) if !name.is_empty() => {
                std::fs::write(self.folder.join(name), self.replaced(&block.text)).expect("a file");
            }
            ("text", "") => {}
            _ => panic!("tutorial line {}: unknown block {:?}", block.line, block.info),
        }
    }

    /// Types a step until it shows what it should: the page tells a reader to ask again.
    fn repeat(&mut self, block: &Block, step: &dyn Fn() -> String) {
        let what = format!("the step at line {} of the tutorial", block.line);
        wait_for(&what, STEP_DEADLINE, || {
            let shown = step();
            let result = missing(&shown, block.expected());
            if result.is_err() {
                pause(AGAIN);
            }
            result
        });
        self.done(block);
    }

    fn start(&mut self, block: &Block) {
        let number = self.servers.len();
        let name = format!("server-{number}");
        // `exec`, so that the server and not the shell has the id that is stopped.
        let command = self.command(&format!("exec {}", self.replaced(&block.text)));
        self.servers.push(Program::start(&name, command, self.folder));
        let client = Client::new(self.ports[number]);
        wait_for(&format!("{name} to be ready"), STEP_DEADLINE, || {
            match client.get("/-/ready", &[])?.status {
                200 => Ok(()),
                status => Err(format!("status {status}")),
            }
        });
        let log = self.folder.join(format!("{name}.log"));
        wait_for(&format!("the words of {name}"), STEP_DEADLINE, || {
            missing(&String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()), block.expected())
        });
        self.done(block);
    }

    fn done(&mut self, block: &Block) {
        self.n_steps += 1;
        let first = block.text.lines().next().unwrap_or_default();
        say(&format!("{SUITE}: line {}: {}", block.line, first.chars().take(80).collect::<String>()));
    }

    /// The documented replacements.
    fn replaced(&self, text: &str) -> String {
        let binary = promontory_binary().display().to_string();
        text.replace("cargo run --release --locked --", &binary)
            .replace("cargo run --release --locked", &binary)
            .replace("127.0.0.1:9090", &format!("127.0.0.1:{}", self.ports[0]))
            .replace("127.0.0.1:9091", &format!("127.0.0.1:{}", self.ports[1]))
    }

    fn shell(&self, script: &str) -> impl Fn() -> String + use<> {
        let script = script.to_owned();
        let (folder, tools, port) = (self.folder.to_owned(), self.tools.to_owned(), self.ports[0]);
        move || {
            let output = command(&folder, &tools, port, &script).output().expect("sh starts");
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        }
    }

    fn command(&self, script: &str) -> Command {
        command(self.folder, self.tools, self.ports[0], script)
    }
}

/// A shell in the folder, where the tools are installed.
fn command(folder: &Path, tools: &Path, port: u16, script: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).current_dir(folder).stdin(Stdio::null());
    // What the machine sets must not decide what the page shows.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMONTORY_")) {
        command.env_remove(name);
    }
    command.env("PATH", format!("{}:{path}", tools.display()));
    command.env("PROMONTORY_WEB_LISTEN_ADDRESS", format!("127.0.0.1:{port}"));
    for proxy in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// What DuckDB answers to the last of some statements, a row a line.
fn duckdb(python: &Path, folder: &Path, statements: &str) -> String {
    const PROGRAM: &str = "import sys, duckdb\n\
        for row in duckdb.connect().execute(sys.argv[1]).fetchall(): print(*row, sep='\\t')";
    let output = Command::new(python).args(["-c", PROGRAM, statements]).current_dir(folder).output();
    let output = output.expect("python starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Which expected part is not shown.
fn missing(shown: &str, expected: &[&str]) -> Result<(), String> {
    match expected.iter().find(|part| !shown.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("{part:?} is not in {:?}", shown.chars().take(600).collect::<String>())),
    }
}

#[test]
fn fenced_blocks_are_found_with_what_they_are_for() {
    let page = "a\n```sh server\nx\ny\n```\n\n```yaml f.yml\nz\n```\n```text\n```\n";
    let block = |info: &str, text: &str, line| Block { info: info.into(), text: text.into(), line };
    let expected = [block("sh server", "x\ny\n", 2), block("yaml f.yml", "z\n", 7), block("text", "", 10)];
    assert_eq!(blocks(page), expected);
}
