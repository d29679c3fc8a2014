//! What keeps an object store from doing what it was asked, in words for the person who has to act.
//!
//! A store says it in many dialects: a code in XML, a status, an error of the system, a sentence of a TLS
//! library. [`StoreTrouble::of`] reads them all; logs, refusals to start and answers name the trouble and not the
//! dialect, which may hold a key id, a host or a path.
//!
//! `docs/operations.md` lists every trouble; a test compares.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

/// Why an object store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreTrouble {
    /// Disk or quota is full.
    NoSpace,
    /// The credentials are good, their permissions are not enough.
    AccessDenied,
    /// There is no such bucket.
    BucketMissing,
    /// No bucket can have this name.
    BucketName,
    /// The key is unknown, or the secret is not its own.
    WrongKey,
    /// Neither the environment nor the machine has any.
    NoCredentials,
    /// A temporary credential has run out.
    ExpiredToken,
    /// The bucket lies elsewhere, or the request was signed for elsewhere.
    WrongRegion,
    /// The store's clock and this machine's are too far apart for a signature.
    ClockSkew,
    /// No trusted connection can be made.
    Tls,
    /// A local store whose folder is none.
    NotFolder,
    /// A local store whose folder does not let this process in.
    Unwritable,
    /// A local store that cannot create if absent.
    NoHardLinks,
    /// The store does not know a request that is needed.
    NotSupported,
    /// The object that was asked for is not there.
    Missing,
    /// Refused for a reason that only the store's own words tell.
    Refused,
    /// Nobody listens, or the name does not resolve.
    Unreachable,
    /// Connected, and no answer in time.
    TimedOut,
    /// The store asks for patience.
    Throttled,
    /// A status from 500 on, or a connection that broke.
    Failing,
    /// None of these.
    Other,
}

/// What a trouble is, as it follows a colon, and what mends it.
struct Words {
    what: &'static str,
    mend: &'static str,
}

use StoreTrouble as T;

/// Where `<Code>` of an answer leads; of S3, MinIO, GCS and Azure.
const CODES: [(&str, StoreTrouble); 36] = [
    ("NoSuchBucket", T::BucketMissing),
    ("ContainerNotFound", T::BucketMissing),
    ("ContainerBeingDeleted", T::BucketMissing),
    ("InvalidBucketName", T::BucketName),
    ("InvalidResourceName", T::BucketName),
    ("InvalidAccessKeyId", T::WrongKey),
    ("SignatureDoesNotMatch", T::WrongKey),
    ("AuthenticationFailed", T::WrongKey),
    ("InvalidAuthenticationInfo", T::WrongKey),
    ("InvalidSecurity", T::WrongKey),
    ("NoAuthenticationInformation", T::NoCredentials),
    ("ExpiredToken", T::ExpiredToken),
    ("InvalidToken", T::ExpiredToken),
    ("InvalidTokenId", T::ExpiredToken),
    ("TokenRefreshRequired", T::ExpiredToken),
    ("AuthorizationHeaderMalformed", T::WrongRegion),
    ("PermanentRedirect", T::WrongRegion),
    ("IllegalLocationConstraintException", T::WrongRegion),
    ("RequestTimeTooSkewed", T::ClockSkew),
    ("RequestExpired", T::ClockSkew),
    ("AccessDenied", T::AccessDenied),
    ("AllAccessDisabled", T::AccessDenied),
    ("AccountProblem", T::AccessDenied),
    ("AuthorizationFailure", T::AccessDenied),
    ("AuthorizationPermissionMismatch", T::AccessDenied),
    ("InsufficientAccountPermissions", T::AccessDenied),
    ("NotImplemented", T::NotSupported),
    ("SlowDown", T::Throttled),
    ("ServerBusy", T::Throttled),
    ("TooManyRequests", T::Throttled),
    ("RequestLimitExceeded", T::Throttled),
    ("XMinioStorageFull", T::NoSpace),
    ("QuotaExceeded", T::NoSpace),
    ("InsufficientStorage", T::NoSpace),
    ("RequestTimeout", T::TimedOut),
    ("OperationTimedOut", T::TimedOut),
];

/// Where clients look for the credentials of a machine in a cloud, once the environment has none.
const METADATA_SERVICES: [&str; 3] = ["169.254.169.254", "/latest/api/token", "metadata.google.internal"];

impl StoreTrouble {
    /// Every trouble, in the order of their declaration.
    pub const ALL: [Self; 21] = [
        Self::NoSpace,
        Self::AccessDenied,
        Self::BucketMissing,
        Self::BucketName,
        Self::WrongKey,
        Self::NoCredentials,
        Self::ExpiredToken,
        Self::WrongRegion,
        Self::ClockSkew,
        Self::Tls,
        Self::NotFolder,
        Self::Unwritable,
        Self::NoHardLinks,
        Self::NotSupported,
        Self::Missing,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Throttled,
        Self::Failing,
        Self::Other,
    ];

    /// The trouble behind an error of a store's client.
    #[must_use]
    pub fn of(error: &StoreError) -> Self {
        let mut causes: Vec<&(dyn StdError + 'static)> = vec![error];
        while let Some(below) = causes.last().copied().and_then(StdError::source) {
            causes.push(below);
        }
        // A cause may leave out what stands below it.
        let texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let text = texts.join(": ");
        of_text(&text)
            .or_else(|| causes.iter().find_map(|cause| of_cause(*cause, &text)))
            .unwrap_or(Self::Other)
    }

    /// What to do about it, as a sentence without its full stop.
    #[must_use]
    pub fn mend(self) -> &'static str {
        self.words().mend
    }

    /// True if time may mend it: then it is worth to ask again, and a process that starts waits.
    #[must_use]
    pub fn mends_itself(self) -> bool {
        matches!(
            self,
            T::NoSpace | T::Missing | T::Unreachable | T::TimedOut | T::Throttled | T::Failing | T::Other
        )
    }

    fn words(self) -> Words {
        let (what, mend) = match self {
            T::NoSpace => (
                "no space is left on the device, or its quota is used up",
                "make room; writing goes on by itself",
            ),
            T::AccessDenied => (
                "the store refuses: access denied",
                "give these credentials the permissions that docs/operations.md lists",
            ),
            T::BucketMissing => ("the bucket does not exist", "create it, or name another with --store"),
            T::BucketName => ("the store refuses the name of the bucket", "correct it in --store"),
            T::WrongKey => (
                "the store does not accept the access key or its secret",
                "correct the credentials in the environment of this process",
            ),
            T::NoCredentials => (
                "there are no credentials",
                "set them in the environment of this process, for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            T::ExpiredToken => {
                ("the session token has expired or is none", "renew it in the environment of this process")
            }
            T::WrongRegion => (
                "the bucket lies in another region",
                "name its region, for S3 in AWS_REGION or with ?region= in --store",
            ),
            T::ClockSkew => {
                ("the clock of this machine is too far from the store's", "set the clock, best by NTP")
            }
            T::Tls => (
                "no trusted TLS connection can be made",
                "install the certificate of the store's authority on this machine, or correct http:// and https:// in the endpoint",
            ),
            T::NotFolder => {
                ("it is a file and not a folder, or lies below a file", "name a folder with --store")
            }
            T::Unwritable => (
                "this process may not read and write in the folder",
                "give the user that it runs as the right to, or name another folder with --store",
            ),
            T::NoHardLinks => (
                "the file system has no hard links, without which nothing can be created only if it is absent",
                "name a folder on one that has them with --store, such as ext4, XFS or APFS",
            ),
            T::NotSupported => (
                "the store does not know a request that is needed, such as to create an object only if it is absent",
                "use one that does: S3, GCS, Azure, MinIO or a local folder",
            ),
            T::Missing => {
                ("the store does not find it", "look with promontory fsck for what else is missing")
            }
            T::Refused => ("the store refuses the request", "what it says itself stands beside"),
            T::Unreachable => {
                ("the store cannot be reached", "look at its address, the network and whether it runs")
            }
            T::TimedOut => {
                ("the store did not answer in time", "look at the network and the load of the store")
            }
            T::Throttled => ("the store asks for fewer requests", "raise its limits"),
            T::Failing => ("the store or the connection to it fails", "look at the store's own log"),
            T::Other => ("the store failed the request", "what it says itself stands beside"),
        };
        Words { what, mend }
    }
}

impl fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().what)
    }
}

/// By what the store says itself: its code, and what has no code.
fn of_text(text: &str) -> Option<StoreTrouble> {
    let code = text.split_once("<Code>").and_then(|(_, rest)| Some(rest.split_once("</Code>")?.0));
    let by_code = code.and_then(|code| CODES.iter().find(|(known, _)| *known == code));
    if let Some((_, trouble)) = by_code {
        return Some(*trouble);
    }
    if text.contains("Received redirect without LOCATION") {
        return Some(T::WrongRegion);
    }
    if METADATA_SERVICES.iter().any(|address| text.contains(address)) {
        return Some(T::NoCredentials);
    }
    of_status(text)
}

/// The client's error does not give its status away, but its text does.
fn of_status(text: &str) -> Option<StoreTrouble> {
    let (_, rest) = text.split_once("status code: ")?;
    match rest.get(..3)?.parse().ok()? {
        401_u16 => Some(T::WrongKey),
        403 => Some(T::AccessDenied),
        408 => Some(T::TimedOut),
        429 | 503 => Some(T::Throttled),
        501 => Some(T::NotSupported),
        507 => Some(T::NoSpace),
        // An answer about the object, not about the store.
        404 => Some(T::Missing),
        409 | 412 => Some(T::Other),
        500.. => Some(T::Failing),
        _ => Some(T::Refused),
    }
}

fn of_cause(cause: &(dyn StdError + 'static), text: &str) -> Option<StoreTrouble> {
    let of_store = cause.downcast_ref().and_then(of_store);
    let of_http = || cause.downcast_ref().and_then(|http| of_http(http, text));
    let of_system = || cause.downcast_ref().and_then(of_system);
    let late = || cause.is::<tokio::time::error::Elapsed>().then_some(T::TimedOut);
    of_store.or_else(of_http).or_else(of_system).or_else(late)
}

fn of_store(error: &StoreError) -> Option<StoreTrouble> {
    match error {
        StoreError::PermissionDenied { .. } => Some(T::AccessDenied),
        StoreError::Unauthenticated { .. } => Some(T::WrongKey),
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => Some(T::NotSupported),
        StoreError::NotFound { .. } => Some(T::Missing),
        StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } => Some(T::Other),
        _ => None,
    }
}

fn of_http(error: &HttpError, text: &str) -> Option<StoreTrouble> {
    let is_tls =
        || ["certificate", "handshake", "corrupt message", "tls"].iter().any(|word| text.contains(word));
    match error.kind() {
        HttpErrorKind::Connect if is_tls() => Some(T::Tls),
        HttpErrorKind::Connect => Some(T::Unreachable),
        HttpErrorKind::Timeout => Some(T::TimedOut),
        HttpErrorKind::Request | HttpErrorKind::Interrupted => Some(T::Failing),
        _ => None,
    }
}

fn of_system(error: &io::Error) -> Option<StoreTrouble> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(T::NoSpace),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(T::Unwritable),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Some(T::NotFolder),
        io::ErrorKind::Unsupported => Some(T::NoHardLinks),
        io::ErrorKind::TimedOut => Some(T::TimedOut),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
