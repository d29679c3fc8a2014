//! The object store as this system uses it: one bucket, three clients.
//!
//! [`StoreUrl`] is the checked form of `--store`; [`Bucket::open`] turns it into clients that count
//! their requests ([`crate::object::counted`]) and, on the local file system, survive a power loss
//! ([`crate::object::durable`]).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

use crate::error::Error;
use crate::object::counted::{Component, CountedStore, RequestCounters};
use crate::object::durable::DurableLocal;
use crate::outage::OutageLog;

/// One bucket (or folder) behind three clients that differ only in timeouts and retries.
///
/// Small metadata requests must fail fast, range reads obey the query's deadline, uploads of blocks
/// may take minutes on a slow link.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Catalog, slots, marks: small, short timeouts.
    pub metadata: Arc<dyn ObjectStore>,
    /// Ranges of blocks for queries, whose deadline ends them.
    pub reads: Arc<dyn ObjectStore>,
    /// Uploads of whole blocks, which may take minutes.
    pub uploads: Arc<dyn ObjectStore>,
    /// Where loops say how their requests went.
    pub outages: Arc<OutageLog>,
}

/// Where the data lies: the checked form of `--store`.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A local folder: `./data`, `/var/lib/x` or `file:///var/lib/x`.
    Local(PathBuf),
    /// `memory:///`: gone with the process.
    Memory,
    /// `s3://bucket/prefix?endpoint=...`, `gs://...`, `az://...` and the other spellings that the
    /// object store library knows.
    Remote(Url),
}

struct ClientSettings {
    component: Component,
    /// Longest time of one request, its body included.
    request_timeout: Duration,
    retries_max: usize,
    /// No retry starts later than this after the first request.
    retry_timeout: Duration,
}

const METADATA: ClientSettings = ClientSettings {
    component: Component::Metadata,
    request_timeout: Duration::from_secs(5),
    retries_max: 2,
    retry_timeout: Duration::from_secs(8),
};
const READS: ClientSettings = ClientSettings {
    component: Component::Reads,
    // Whoever reads has a limit by the size of what is read (`object::verified`), and this one is not to
    // undercut it: a block of 128 MiB has 271 s.
    request_timeout: Duration::from_secs(300),
    retries_max: 3,
    retry_timeout: Duration::from_secs(30),
};
const UPLOADS: ClientSettings = ClientSettings {
    component: Component::Uploads,
    request_timeout: Duration::from_secs(300),
    retries_max: 3,
    retry_timeout: Duration::from_secs(120),
};
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

impl Bucket {
    /// All three purposes through one client, as in tests and the simulator.
    #[must_use]
    pub fn single(store: Arc<dyn ObjectStore>) -> Self {
        Self { metadata: store.clone(), reads: store.clone(), uploads: store, outages: Arc::default() }
    }

    /// Opens the clients of `url`; makes the folder of a local store, sends no request to a remote
    /// one. Credentials come from the usual environment of each cloud.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the URL or its options are not understood, [`Error::Unavailable`]
    /// if the local folder cannot be made.
    pub fn open(url: &StoreUrl, counters: &Arc<RequestCounters>) -> Result<Self, Error> {
        let shared: Option<Arc<dyn ObjectStore>> = match url {
            StoreUrl::Local(path) => Some(Arc::new(DurableLocal::open(path)?)),
            StoreUrl::Memory => Some(Arc::new(InMemory::new())),
            StoreUrl::Remote(_) => None,
        };
        let client = |settings: &ClientSettings| -> Result<Arc<dyn ObjectStore>, Error> {
            let store = match (&shared, url) {
                (None, StoreUrl::Remote(url)) => remote(url, settings)?,
                (Some(shared), _) => shared.clone(),
                (None, _) => return Err(Error::Bug("a local store was not opened".into())),
            };
            Ok(Arc::new(CountedStore::new(store, settings.component, counters.clone())))
        };
        let (metadata, reads, uploads) = (client(&METADATA)?, client(&READS)?, client(&UPLOADS)?);
        Ok(Self { metadata, reads, uploads, outages: Arc::default() })
    }
}

fn remote(url: &Url, settings: &ClientSettings) -> Result<Arc<dyn ObjectStore>, Error> {
    let refused = |error: &dyn fmt::Display| {
        Error::Unsupported(format!("cannot open store {}: {error}", without_query(url)))
    };
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|error| refused(&error))?;
    let mut bare = url.clone();
    bare.set_query(None);
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let client = [
        (ClientConfigKey::Timeout, seconds(settings.request_timeout)),
        (ClientConfigKey::ConnectTimeout, seconds(CONNECT_TIMEOUT)),
    ];
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: settings.retries_max,
        retry_timeout: settings.retry_timeout,
    };
    // The three builders share no trait, only the names of their methods.
    macro_rules! build {
        ($builder:ty, $key:ident, [$($endpoint:ident),+]) => {{
            let mut builder = <$builder>::from_env().with_url(bare.as_str()).with_retry(retry);
            for (key, value) in client {
                builder = builder.with_config($key::Client(key), value);
            }
            for (key, value) in url.query_pairs() {
                if key == "endpoint" {
                    // Over every spelling of the environment.
                    $(builder = builder.with_config($key::$endpoint, value.as_ref());)+
                } else {
                    builder = builder.with_config(key.parse().map_err(|error| refused(&error))?, value);
                }
            }
            // Whoever names an endpoint with `http`, in the URL or in the environment, wants it without TLS.
            let endpoints = [$(builder.get_config_value(&$key::$endpoint)),+];
            if endpoints.iter().flatten().any(|url| url.starts_with("http://")) {
                builder = builder.with_config($key::Client(ClientConfigKey::AllowHttp), "true");
            }
            Arc::new(builder.build().map_err(|error| refused(&error))?) as Arc<dyn ObjectStore>
        }};
    }
    let store = match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder, AmazonS3ConfigKey, [Endpoint, S3Endpoint]),
        ObjectStoreScheme::GoogleCloudStorage => {
            build!(GoogleCloudStorageBuilder, GoogleConfigKey, [BaseUrl])
        }
        ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder, AzureConfigKey, [Endpoint]),
        _ => return Err(refused(&"this kind of store has no create-if-absent")),
    };
    if path == Path::default() { Ok(store) } else { Ok(Arc::new(PrefixStore::new(store, path))) }
}

/// What nobody would call a folder: `s3:bucket`, `minio:9000/bucket`, `arn:aws:s3:::bucket`, and the name of a cloud in the
/// place of the first folder.
fn looks_like_url(text: &str) -> bool {
    let first = text.split(['/', '?']).next().unwrap_or_default();
    let is_host = first.ends_with(".amazonaws.com")
        || first.ends_with(".googleapis.com")
        || first.ends_with(".windows.net");
    first.contains(':') || is_host || text.contains('?')
}

/// Query options may hold secrets.
fn without_query(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    if shown.password().is_some() {
        // Setting a password fails only for URLs that cannot have one.
        let _ = shown.set_password(Some("xxxxx"));
    }
    shown.to_string()
}

impl StoreUrl {
    /// Where an outside reader finds an object: a path for a local store, a URL otherwise.
    #[must_use]
    pub fn locate(&self, object: &Path) -> String {
        match self {
            Self::Local(root) => root.join(object.as_ref()).display().to_string(),
            Self::Memory => format!("memory:///{object}"),
            Self::Remote(url) => format!("{}/{object}", without_query(url).trim_end_matches('/')),
        }
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Unsupported(
                "store must not be empty; for example ./data or s3://bucket".into(),
            ));
        }
        let refused = |why: String| Error::Unsupported(format!("cannot use store: {why}"));
        if !text.contains("://") {
            return match looks_like_url(text) {
                false => Ok(Self::Local(PathBuf::from(text))),
                true => Err(refused(format!(
                    "\"{text}\" is neither a URL, such as s3://bucket/prefix, nor the path of a folder, which would begin \
                     with ./ or /"
                ))),
            };
        }
        let url = Url::parse(text).map_err(|error| refused(format!("invalid URL: {error}")))?;
        match url.scheme() {
            "file" => {
                let path = url.to_file_path();
                path.map(Self::Local)
                    .map_err(|()| refused("file URLs need an absolute path: file:///path".into()))
            }
            "memory" => Ok(Self::Memory),
            "s3" | "s3a" | "gs" | "az" | "azure" | "adl" | "abfs" | "abfss" => Ok(Self::Remote(url)),
            other => Err(refused(format!(
                "unknown scheme \"{other}\"; known are file, memory, s3, gs and az, or a path"
            ))),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Memory => f.write_str("memory:///"),
            Self::Remote(url) => f.write_str(&without_query(url)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, String> {
        text.parse().map_err(|error: Error| error.to_string())
    }

    #[test]
    fn every_spelling_of_a_store_is_understood() {
        for path in ["./data", "data", "/var/lib/promontory"] {
            assert_eq!(parse(path), Ok(StoreUrl::Local(path.into())));
        }
        assert_eq!(parse("file:///var/x"), Ok(StoreUrl::Local("/var/x".into())));
        assert_eq!(parse("memory:///"), Ok(StoreUrl::Memory));
        for remote in ["s3://b/p?endpoint=http://127.0.0.1:9000", "gs://b", "az://c/p"] {
            assert!(matches!(parse(remote), Ok(StoreUrl::Remote(_))), "{remote}");
        }
        for path in ["./s3:bucket", "/a:b/c", "s3/bucket", "data.d/x"] {
            assert_eq!(parse(path), Ok(StoreUrl::Local(path.into())));
        }
        for bad in ["", "ftp://x/y", "http://x/y", "file://host/relative"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "s3:bucket/prefix",
            "S3:bucket",
            "gs:/bucket",
            "az:container",
            "minio:9000/bucket",
            "127.0.0.1:9000/bucket",
            "arn:aws:s3:::bucket",
            "bucket.s3.eu-west-1.amazonaws.com/prefix",
            "storage.googleapis.com/bucket",
            "account.blob.core.windows.net/container",
            "bucket?endpoint=http",
            "file:/var/x",
            "memory:",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(bad) && error.contains("s3://bucket/prefix"), "{error}");
        }
    }

    #[test]
    fn objects_are_located_for_outside_readers() {
        let object = Path::from("blocks/x/series.parquet");
        for (store, expected) in [
            ("./data", "./data/blocks/x/series.parquet"),
            ("file:///var/x", "/var/x/blocks/x/series.parquet"),
            ("s3://b/p?endpoint=http://127.0.0.1:9000", "s3://b/p/blocks/x/series.parquet"),
            ("s3://b", "s3://b/blocks/x/series.parquet"),
        ] {
            assert_eq!(parse(store).unwrap().locate(&object), expected);
        }
    }

    #[test]
    fn secrets_in_the_url_are_not_shown() {
        let url = parse("s3://bucket/p?endpoint=http://x&secret_access_key=hush").unwrap();
        assert_eq!(url.to_string(), "s3://bucket/p");
        assert_eq!(format!("{url:?}"), "s3://bucket/p");
    }

    #[test]
    fn every_cloud_takes_an_endpoint() {
        for text in [
            "s3://bucket?endpoint=http://127.0.0.1:1&access_key_id=a&secret_access_key=b",
            "gs://bucket?endpoint=http://127.0.0.1:1&skip_signature=true",
            "az://container?endpoint=http://127.0.0.1:1/account&account_name=account&skip_signature=true",
        ] {
            let url = parse(text).unwrap();
            assert!(Bucket::open(&url, &Arc::default()).is_ok(), "{text}");
        }
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let url = parse("s3://bucket?colour=red").unwrap();
        let error = Bucket::open(&url, &Arc::default()).unwrap_err().to_string();
        assert!(error.contains("colour"), "{error}");
    }
}
