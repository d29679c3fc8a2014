//! The programs of the suites, each started until it is ready: Promontory itself, MinIO, Prometheus,
//! node-exporter, and a small exporter of our own for shapes that the others do not show.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::clock::{pause, wait_for};
use super::http::Client;
use super::program::{Program, free_port};
use super::tools::promontory_binary;

/// How long any program may take to its first readiness.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long Promontory may take to its end after SIGTERM: a last block per writer.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

const ACCESS_KEY: &str = "promontory";
const SECRET_KEY: &str = "promontory-secret";
const BUCKET: &str = "metrics";

/// Where a Promontory keeps its bytes.
#[derive(Clone, Debug)]
pub struct Store {
    url: String,
    environment: Vec<(&'static str, String)>,
    reach: Reach,
}

#[derive(Clone, Debug)]
enum Reach {
    Folder(PathBuf),
    Bucket {
        endpoint: String,
        prefix: String,
    },
    /// Only the product reads it.
    Unreached,
}

impl Store {
    /// A folder.
    pub fn folder(path: &Path) -> Self {
        let url = path.display().to_string();
        Self { url, environment: Vec::new(), reach: Reach::Folder(path.to_owned()) }
    }

    /// Under a prefix of MinIO's bucket.
    pub fn minio(minio: &Minio, prefix: &str) -> Self {
        Self::minio_behind(minio.port, prefix)
    }

    /// The same through whatever passes on to MinIO what comes to `port`.
    pub fn minio_behind(port: u16, prefix: &str) -> Self {
        let endpoint = format!("http://127.0.0.1:{port}");
        Self {
            url: format!("s3://{BUCKET}/{prefix}?endpoint={endpoint}"),
            environment: vec![
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ],
            reach: Reach::Bucket { endpoint, prefix: prefix.to_owned() },
        }
    }

    /// Under a prefix of Azurite's container.
    pub fn azurite(azurite: &Azurite, prefix: &str) -> Self {
        Self {
            url: format!("az://{BUCKET}/{prefix}?use_emulator=true"),
            environment: vec![("AZURITE_BLOB_STORAGE_URL", format!("http://127.0.0.1:{}", azurite.port))],
            reach: Reach::Unreached,
        }
    }

    /// Whatever lies at `url`, with the credentials of MinIO.
    pub fn at(url: String) -> Self {
        let environment = vec![
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        Self { url, environment, reach: Reach::Unreached }
    }

    /// The same store, for a process without credentials.
    pub fn without_credentials(mut self) -> Self {
        self.environment.clear();
        self
    }

    /// The same store, for a process with one more environment variable.
    pub fn with_variable(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    /// What one of the product's commands prints about this store.
    ///
    /// # Panics
    /// If the command fails.
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promontory {arguments:?}: {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("the product prints text")
    }

    /// Why one of the product's commands fails over this store.
    ///
    /// # Panics
    /// If the command succeeds.
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "promontory {arguments:?} has succeeded over {}", self.url);
        String::from_utf8(output.stderr).expect("the product prints text")
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let mut command = promontory(self);
        command.args(arguments).args(["--store", &self.url]);
        command.output().unwrap_or_else(|error| panic!("cannot start promontory {arguments:?}: {error}"))
    }

    /// Key and size of every object below a folder of the store.
    ///
    /// # Panics
    /// If the store is not MinIO's.
    pub fn sizes(&self, folder: &str) -> Vec<(String, u64)> {
        let Reach::Bucket { endpoint, prefix } = &self.reach else {
            panic!("no suite lists the objects of {} itself", self.url)
        };
        list(endpoint, &format!("{prefix}/{folder}"))
    }

    /// How many live blocks there are of each level, as `promontory blocks ls` names it.
    pub fn blocks_by_level(&self) -> BTreeMap<String, usize> {
        let text = self.command(&["blocks", "ls"]);
        let levels = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        levels.fold(BTreeMap::new(), |mut counts, level| {
            *counts.entry(level.to_owned()).or_default() += 1;
            counts
        })
    }

    /// The files of the live set as `blocks ls --files` names them, brought to local paths under
    /// `folder` with the last two parts of their keys kept, so that `block=<id>` stays readable.
    pub fn local_copies(&self, names: &[String], folder: &Path) -> Vec<PathBuf> {
        names.iter().map(|name| self.local_copy(name, folder)).collect()
    }

    fn local_copy(&self, name: &str, folder: &Path) -> PathBuf {
        match &self.reach {
            Reach::Folder(root) => {
                let plain = name.strip_prefix("file://").unwrap_or(name);
                if Path::new(plain).exists() { plain.into() } else { root.join(plain) }
            }
            Reach::Bucket { endpoint, prefix } => {
                let key = match name.strip_prefix(&format!("s3://{BUCKET}/")) {
                    Some(key) => key.to_owned(),
                    None if name.starts_with(&format!("{prefix}/")) => name.to_owned(),
                    None => format!("{prefix}/{name}"),
                };
                let path = folder.join(&key);
                std::fs::create_dir_all(path.parent().expect("a key has a folder")).expect("a folder");
                std::fs::write(&path, download(endpoint, &key)).expect("a copy of the object");
                path
            }
            Reach::Unreached => panic!("no suite reads the objects of {} itself", self.url),
        }
    }
}

fn bucket(endpoint: &str) -> object_store::aws::AmazonS3 {
    let store = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_region("us-east-1")
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY);
    store.build().expect("a client of MinIO")
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn list(endpoint: &str, folder: &str) -> Vec<(String, u64)> {
    use object_store::ObjectStore as _;
    let (store, mut folders) = (bucket(endpoint), vec![object_store::path::Path::from(folder)]);
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let listed = wait(store.list_with_delimiter(Some(&folder)));
        let listed = listed.unwrap_or_else(|error| panic!("cannot list {folder} of MinIO: {error}"));
        found.extend(listed.objects.into_iter().map(|object| (object.location.to_string(), object.size)));
        folders.extend(listed.common_prefixes);
    }
    found
}

fn download(endpoint: &str, key: &str) -> Vec<u8> {
    use object_store::ObjectStoreExt as _;
    let store = bucket(endpoint);
    let bytes = wait(async {
        let answer = store.get(&object_store::path::Path::from(key)).await?;
        answer.bytes().await
    });
    bytes.unwrap_or_else(|error| panic!("cannot read {key} from MinIO: {error}")).to_vec()
}

/// The product, as a user starts it.
pub struct Promontory {
    name: String,
    program: Program,
    store: Store,
    flags: Vec<String>,
    folder: PathBuf,
    port: u16,
    /// Speaks to it.
    pub client: Client,
    /// From the start of the process to its first "ready".
    pub ready_after: Duration,
}

impl Promontory {
    /// Starts it and waits until it is ready.
    pub fn start(name: &str, folder: &Path, store: &Store, flags: &[&str]) -> Self {
        let started = Instant::now();
        let mut this = Self::begin(name, folder, store, flags);
        this.wait_until_ready(started);
        this
    }

    /// Starts it over a store that may be away or unusable.
    pub fn begin(name: &str, folder: &Path, store: &Store, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let port = free_port();
        Self {
            name: name.to_owned(),
            program: Program::start(name, command(store, port, &flags), folder),
            store: store.clone(),
            flags,
            folder: folder.to_owned(),
            port,
            client: Client::new(port),
            ready_after: Duration::ZERO,
        }
    }

    /// What it printed and logged so far, all its starts together.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.join(format!("{}.log", self.name)));
        String::from_utf8_lossy(&log.expect("a log")).into_owned()
    }

    /// Starts it again after its end, on the same port and store, and waits until it is ready.
    pub fn restart(&mut self) {
        let started = Instant::now();
        self.launch();
        self.wait_until_ready(started);
    }

    /// Starts it again over a store that it cannot use: its exit status and what it logged.
    pub fn restart_in_vain(&mut self, deadline: Duration) -> (ExitStatus, String) {
        let log = self.folder.join(format!("{}.log", self.name));
        let before = std::fs::read(&log).map_or(0, |text| text.len());
        self.launch();
        let status = self.program.wait(deadline);
        let text = std::fs::read(&log).expect("a log");
        (status, String::from_utf8_lossy(&text[before..]).into_owned())
    }

    /// `promontory fsck` over its store: whether it found nothing, and what it printed.
    pub fn fsck(&self) -> (bool, String) {
        let mut command = promontory(&self.store);
        command.args(["fsck", "--store", &self.store.url]);
        let output = command.output().expect("promontory fsck starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts it again after its end, while its store may be away.
    pub fn launch(&mut self) {
        let command = command(&self.store, self.port, &self.flags);
        self.program = Program::start(&self.name, command, &self.folder);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGTERM, and the exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.program.terminate(STOP_DEADLINE)
    }

    /// What the test calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The files of the live set, as `promontory blocks ls --files` prints them.
    pub fn block_files(&self) -> Vec<String> {
        let text = self.store.command(&["blocks", "ls", "--files"]);
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Series with samples that no block contains, as its own metrics tell.
    pub fn unflushed_series(&self) -> u64 {
        let metrics = self.client.get("/metrics", &[]).expect("metrics are answered").text();
        let line = metrics.lines().find_map(|line| line.strip_prefix("promontory_ingester_head_series "));
        let value: f64 =
            line.and_then(|value| value.trim().parse().ok()).expect("the head's series are exported");
        value as u64
    }

    /// Waits until it is ready; [`Self::ready_after`] counts from `started`.
    pub fn wait_until_ready(&mut self, started: Instant) {
        let client = self.client.clone();
        let (name, program) = (&self.name, &mut self.program);
        wait_for(&format!("{name} to be ready"), START_DEADLINE, || {
            assert!(program.is_alive(), "{name} ended before it was ready");
            ready(&client, "/-/ready")
        });
        self.ready_after = started.elapsed();
    }
}

fn command(store: &Store, port: u16, flags: &[String]) -> Command {
    let mut command = promontory(store);
    command.arg("--store").arg(&store.url);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).args(flags);
    command
}

fn promontory(store: &Store) -> Command {
    let mut command = Command::new(promontory_binary());
    // What the machine sets must not decide what the suite shows.
    for (name, _) in std::env::vars().filter(|(name, _)| is_setting(name)) {
        command.env_remove(name);
    }
    command.envs(store.environment.iter().map(|(name, value)| (name, value)));
    command
}

fn is_setting(name: &str) -> bool {
    ["AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "PROMONTORY_"].iter().any(|prefix| name.starts_with(prefix))
}

fn ready(client: &Client, path: &str) -> Result<(), String> {
    let answer = client.get(path, &[])?;
    if answer.status == 200 { Ok(()) } else { Err(format!("status {}: {}", answer.status, answer.text())) }
}

/// A real MinIO with one bucket.
pub struct Minio {
    program: Program,
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
    console: u16,
}

impl Minio {
    /// Starts the server over a fresh folder and waits until it is ready.
    pub fn start(binary: &Path, folder: &Path) -> Self {
        let (port, console) = (free_port(), free_port());
        // On a single drive a bucket is a folder at its top.
        std::fs::create_dir_all(folder.join("minio").join(BUCKET)).expect("a folder for MinIO");
        let program = Program::start("minio", minio_command(binary, folder, port, console), folder);
        let this = Self { program, binary: binary.to_owned(), folder: folder.to_owned(), port, console };
        this.wait_until_ready();
        this
    }

    /// Starts it again after its end, on the same ports and folder; answers once it is ready.
    pub fn restart(&mut self) {
        let command = minio_command(&self.binary, &self.folder, self.port, self.console);
        self.program = Program::start("minio", command, &self.folder);
        self.wait_until_ready();
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// SIGTERM; it answers nobody any more afterwards.
    pub fn terminate(&mut self) {
        self.program.terminate(STOP_DEADLINE);
    }

    /// The process.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn wait_until_ready(&self) {
        let client = Client::new(self.port);
        wait_for("MinIO to be ready", START_DEADLINE, || ready(&client, "/minio/health/ready"));
    }
}

fn minio_command(binary: &Path, folder: &Path, port: u16, console: u16) -> Command {
    let mut command = Command::new(binary);
    command.arg("server").arg(folder.join("minio"));
    command.arg("--address").arg(format!("127.0.0.1:{port}"));
    command.arg("--console-address").arg(format!("127.0.0.1:{console}"));
    command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
    command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
    // It keeps certificates and settings there.
    command.env("HOME", folder);
    command
}

/// A token for everything in the account that every Azurite has, whose key is published; good until
/// 2099. Made as Microsoft's "Create an account SAS" says.
const AZURITE_TOKEN: &str = "sp=rwdlac&ss=b&srt=sco&se=2099-01-01T00%3A00%3A00Z&spr=https%2Chttp&sv=2021-08-06\
                             &sig=kV1%2FDJNn7340SUtIltqF6L9gEwifTOYTqBxfQeMSrhM%3D";

/// Azurite, the emulator of Azure's object store, with one container.
pub struct Azurite {
    _program: Program,
    port: u16,
}

impl Azurite {
    /// Starts the server over a fresh folder and waits until it is ready.
    pub fn start(binary: &Path, folder: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(binary);
        command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        command.arg("--location").arg(folder.join("azurite"));
        let program = Program::start("azurite", command, folder);
        let client = Client::new(port);
        let container = format!("/devstoreaccount1/{BUCKET}?restype=container&{AZURITE_TOKEN}");
        wait_for("Azurite to make a container", START_DEADLINE, || {
            let answer = client.put(&container, Vec::new())?;
            if answer.status == 201 {
                Ok(())
            } else {
                Err(format!("status {}: {}", answer.status, answer.text()))
            }
        });
        Self { _program: program, port }
    }
}

/// A real Prometheus that scrapes each second and remote-writes to others.
pub struct Prometheus {
    program: Program,
    config: PathBuf,
    remotes: Vec<(&'static str, u16)>,
    targets: Vec<(&'static str, u16)>,
    /// Speaks to it.
    pub client: Client,
}

impl Prometheus {
    /// Starts it with its remotes, and without a target: what it scraped before its senders run would
    /// never be sent.
    pub fn start(binary: &Path, folder: &Path, remotes: &[(&'static str, u16)]) -> Self {
        let port = free_port();
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, configuration(remotes, &[])).expect("a configuration file");
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--web.enable-lifecycle");
        let program = Program::start("prometheus", command, folder);
        let client = Client::new(port);
        wait_for("Prometheus to be ready", START_DEADLINE, || ready(&client, "/-/ready"));
        let targets = vec![("prometheus", port)];
        Self { program, config, remotes: remotes.to_vec(), targets, client }
    }

    /// Adds a target to those that [`Self::resume`] scrapes.
    pub fn add_target(&mut self, job: &'static str, port: u16) {
        self.targets.push((job, port));
    }

    /// Scrapes all targets from now on.
    pub fn resume(&mut self) {
        self.configure(&self.targets.clone());
    }

    /// Scrapes nothing from now on and waits until every shard of every sender has had its last
    /// sample acknowledged.
    ///
    /// With the scrapes stopped the senders' input ends; "as many sent as came in, none pending, none
    /// failed or dropped" then says it of every shard, which a highest sent timestamp (the maximum
    /// over shards) does not. Prometheus counts a sample as sent at each attempt
    /// (`storage/remote/queue_manager.go` of 3.16, `attemptStore`), so attempts after the first are
    /// taken off: else what was retried in an outage would stand for samples still unread in its WAL.
    pub fn pause(&mut self) {
        self.configure(&[]);
        // Appends of scrapes that were under way.
        pause(Duration::from_secs(2));
        for (remote, _) in self.remotes.clone() {
            wait_for(&format!("all samples to be acknowledged by {remote}"), START_DEADLINE, || {
                self.drained(remote)
            });
        }
    }

    fn drained(&mut self, remote: &str) -> Result<(), String> {
        assert!(self.program.is_alive(), "prometheus has ended");
        let labels = format!("remote_name=\"{remote}\"");
        // All of one moment: a retry between two readings would count as progress.
        let metrics = self.client.metrics()?;
        let value = |what: &str, labels: &str| {
            let name = format!("prometheus_remote_storage_samples_{what}");
            // Some counters are not there before they count.
            metrics.value(&name, labels).unwrap_or(0.0)
        };
        let total = |what: &str| value(what, &labels);
        let taken = value("in_total", "");
        let (sent, pending) = (total("total") - total("retried_total"), total("pending"));
        let (failed, dropped) = (total("failed_total"), total("dropped_total"));
        assert!(failed == 0.0 && dropped == 0.0, "{remote}: {failed} samples failed, {dropped} dropped");
        if taken > 0.0 && sent >= taken && pending == 0.0 {
            return Ok(());
        }
        Err(format!("{sent} of {taken} samples sent, {pending} pending"))
    }

    fn configure(&self, targets: &[(&str, u16)]) {
        std::fs::write(&self.config, configuration(&self.remotes, targets)).expect("a configuration file");
        let answer = self.client.post("/-/reload", &[], Vec::new()).expect("Prometheus answers");
        assert_eq!(answer.status, 200, "reload: {}", answer.text());
    }
}

/// YAML whose `remote_write` part never changes, so that a reload does not restart the senders.
fn configuration(remotes: &[(&str, u16)], targets: &[(&str, u16)]) -> String {
    let mut text = String::from("global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n");
    text.push_str("scrape_configs:\n");
    for (job, port) in targets {
        let _ = write!(
            text,
            "  - job_name: {job}\n    static_configs:\n      - targets: [127.0.0.1:{port}]\n        \
             labels: {{cluster: \"lake-{}\", env: test}}\n",
            port % 2
        );
    }
    text.push_str("remote_write:\n");
    for (name, port) in remotes {
        let _ = write!(
            text,
            "  - name: {name}\n    url: http://127.0.0.1:{port}/api/v1/write\n    queue_config: \
             {{min_shards: 3, max_shards: 6, max_samples_per_send: 500, batch_send_deadline: 1s}}\n",
        );
    }
    text
}

/// Starts Debian's node-exporter; its port is the second part.
pub fn start_node_exporter(binary: &Path, folder: &Path) -> (Program, u16) {
    let port = free_port();
    let mut command = Command::new(binary);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    // Needs a bus that containers do not have, and logs its absence at each scrape.
    command.arg("--no-collector.systemd");
    let program = Program::start("node-exporter", command, folder);
    let client = Client::new(port);
    wait_for("node-exporter to be ready", START_DEADLINE, || ready(&client, "/metrics"));
    (program, port)
}

/// An exporter inside the test: counters that reset, series that come and go, NaN and infinities,
/// odd label values, a histogram, and partners for vector matching.
pub struct Exporter {
    /// Where it listens.
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts it.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let scrapes = AtomicU64::new(0);
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let n = scrapes.fetch_add(1, Ordering::Relaxed);
                let _ = answer_scrape(stream, &exposition(n));
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread from its wait for a connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer_scrape(mut stream: TcpStream, text: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let (mut head, mut part) = (Vec::new(), [0_u8; 1024]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < 16 << 10 {
        match stream.read(&mut part)? {
            0 => break,
            n => head.extend_from_slice(&part[..n]),
        }
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    )
}

/// The text of scrape number `n`.
fn exposition(n: u64) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("# TYPE shape_resets_total counter"));
    for (k, period) in [7_u64, 13, 29].into_iter().enumerate() {
        line(format_args!("shape_resets_total{{period=\"{period}\"}} {}", (n % period) * 3 + k as u64));
    }
    line(format_args!("# TYPE shape_steady_total counter"));
    for k in 0..12_u64 {
        let (zone, instance) = (["a", "b", "c"][k as usize % 3], k);
        line(format_args!(
            "shape_steady_total{{zone=\"{zone}\",pod=\"pod-{instance}\"}} {}",
            n * (k * k + 1) * 1_000 + k * 17
        ));
    }
    line(format_args!("# TYPE shape_capacity gauge"));
    for zone in ["a", "b", "d"] {
        line(format_args!("shape_capacity{{zone=\"{zone}\",kind=\"limit\"}} {}", 1_000 + n % 10));
    }
    line(format_args!("# TYPE shape_pair gauge"));
    for side in ["left", "right"] {
        line(format_args!("shape_pair{{side=\"{side}\",zone=\"a\"}} {}", n + 1));
    }
    line(format_args!("# TYPE shape_wave gauge"));
    for k in 1..6_u64 {
        let value = (n as f64 / (3.0 * k as f64)).sin() * 100.0 * k as f64;
        line(format_args!("shape_wave{{k=\"{k}\"}} {value}"));
    }
    line(format_args!("# TYPE shape_odd gauge"));
    line(format_args!("shape_odd{{what=\"nan\"}} NaN"));
    line(format_args!("shape_odd{{what=\"plus\"}} +Inf"));
    line(format_args!("shape_odd{{what=\"minus\"}} -Inf"));
    line(format_args!(
        "shape_odd{{what=\"sometimes\"}} {}",
        if n.is_multiple_of(5) { f64::NAN } else { n as f64 }
    ));
    line(format_args!("shape_odd{{what=\"zero\"}} {}", if n.is_multiple_of(2) { 0.0 } else { -0.0 }));
    line(format_args!("shape_odd{{what=\"tiny\"}} 4.9e-324"));
    line(format_args!("shape_odd{{what=\"huge\"}} 1.7976931348623157e308"));
    line(format_args!("# TYPE shape_text gauge"));
    line(format_args!("shape_text{{text=\"with \\\"quotes\\\" and \\\\ and \\n end\"}} 1"));
    line(format_args!("shape_text{{text=\"grüße, 東京 🗻\"}} 2"));
    line(format_args!("shape_text{{text=\"a/b.c:d e=f,{{g}}\"}} 3"));
    line(format_args!("# TYPE shape_blink gauge"));
    if (n / 9).is_multiple_of(2) {
        line(format_args!("shape_blink{{on=\"even\"}} {n}"));
    } else {
        line(format_args!("shape_blink{{on=\"odd\"}} {n}"));
    }
    line(format_args!("# TYPE shape_latency_seconds histogram"));
    for (path, speed) in [("/fast", 8_u64), ("/slow", 2)] {
        let total = n * 10;
        for (k, bound) in ["0.01", "0.1", "0.5", "1", "5"].into_iter().enumerate() {
            let below = (total * speed * (k as u64 + 1) / 40).min(total);
            line(format_args!("shape_latency_seconds_bucket{{path=\"{path}\",le=\"{bound}\"}} {below}"));
        }
        line(format_args!("shape_latency_seconds_bucket{{path=\"{path}\",le=\"+Inf\"}} {total}"));
        line(format_args!("shape_latency_seconds_sum{{path=\"{path}\"}} {}", total as f64 / speed as f64));
        line(format_args!("shape_latency_seconds_count{{path=\"{path}\"}} {total}"));
    }
    out
}
