//! The local file system as a store that survives a power loss.
//!
//! `object_store` 0.13 never calls fsync. Here an object's bytes are synced under a staging name
//! before the object's own name appears, and every folder that gained an entry is synced before the
//! put is answered. So a name that is visible never stands for bytes that a power loss can take, and
//! an answered put keeps its name. "It exists already" is such an answer: the put that made the name may have failed
//! after it, or be waiting for its sync still.
//!
//! Staging names end in `#<digits>`; the library's listing leaves such names out.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use promontory_model::MutexExt as _;

/// How often a put makes its folder again when a concurrent clean-up removed it.
const FOLDER_RETRIES_MAX: usize = 16;

/// Folders that are remembered as synced; of more, all are synced once again.
const FOLDERS_REMEMBERED_MAX: usize = 4_096;

/// A folder as an object store, with fsync.
#[derive(Debug)]
pub struct DurableLocal {
    inner: LocalFileSystem,
    root: PathBuf,
    folders: Arc<Folders>,
}

/// Folders whose names outlast a power loss, as far as they are known, by device and inode: a folder that was made
/// anew under the same name is another one.
#[derive(Debug)]
struct Folders {
    root: PathBuf,
    kept: Mutex<HashSet<(u64, u64)>>,
    /// Syncs a file or folder; tests let it fail.
    sync: fn(&FsPath) -> io::Result<()>,
}

impl DurableLocal {
    /// Opens `root` and makes it if it is absent.
    ///
    /// # Errors
    /// [`crate::Error::Unavailable`] if the folder cannot be made or entered.
    pub fn open(root: &FsPath) -> std::result::Result<Self, crate::Error> {
        let unavailable = |source: Error| crate::Error::Unavailable {
            action: format!("open store folder {}", root.display()),
            source,
        };
        make_root(root).map_err(|error| unavailable(generic(error)))?;
        let root = root.canonicalize().map_err(|error| unavailable(generic(error)))?;
        let inner =
            LocalFileSystem::new_with_prefix(&root).map_err(unavailable)?.with_automatic_cleanup(true);
        let folders = Arc::new(Folders { root: root.clone(), kept: Mutex::default(), sync });
        Ok(Self { inner, root, folders })
    }
}

impl fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableLocal({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let (create, folders) = (opts.mode == PutMode::Create, self.folders.clone());
        blocking(move || folders.put(&path, &payload, create)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        let path = self.inner.path_to_filesystem(location)?;
        Ok(Box::new(SyncedUpload { inner, path, folders: self.folders.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        let (to, folders) = (self.inner.path_to_filesystem(to)?, self.folders.clone());
        blocking(move || folders.sync_with_name(&to).map_err(generic)).await
    }
}

/// Syncs what the library's multipart upload wrote, before it is answered.
#[derive(Debug)]
struct SyncedUpload {
    inner: Box<dyn MultipartUpload>,
    path: PathBuf,
    folders: Arc<Folders>,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await?;
        let (path, folders) = (self.path.clone(), self.folders.clone());
        blocking(move || folders.sync_with_name(&path).map_err(generic)).await?;
        Ok(result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

impl Folders {
    fn put(&self, path: &FsPath, payload: &PutPayload, create: bool) -> Result<PutResult> {
        let done = PutResult { e_tag: None, version: None };
        for _ in 0..FOLDER_RETRIES_MAX {
            match self.put_once(path, payload, create) {
                Ok(()) => return Ok(done),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let path = path.display().to_string();
                    return Err(Error::AlreadyExists { path, source: Box::new(error) });
                }
                Err(error) => return Err(generic(error)),
            }
        }
        Err(generic(io::Error::other(format!("folder of {} keeps disappearing", path.display()))))
    }

    fn put_once(&self, path: &FsPath, payload: &PutPayload, create: bool) -> io::Result<()> {
        let folder = path.parent().ok_or_else(|| io::Error::other("an object needs a folder"))?;
        self.make(folder)?;
        let (mut file, staging) = stage(path)?;
        let named = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| {
            (self.sync)(&staging)?;
            if create { link(&staging, path) } else { fs::rename(&staging, path) }
        });
        if create || named.is_err() {
            // What stays behind is invisible to listings and harmless.
            let _ = fs::remove_file(&staging);
        }
        match named {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            named => (self.sync)(folder).and(named),
        }
    }

    /// Makes a folder and its parents, whose names outlast a power loss afterwards. One that is there already may
    /// have been left behind by a put whose sync failed.
    fn make(&self, folder: &FsPath) -> io::Result<()> {
        let is_kept = |folder| identity(folder).is_ok_and(|identity| self.kept.locked().contains(&identity));
        if folder == self.root || is_kept(folder) {
            return Ok(());
        }
        let parent = folder.parent().ok_or_else(|| io::Error::other("a folder outside the store"))?;
        self.make(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            other => other?,
        }
        (self.sync)(parent)?;
        let (identity, mut kept) = (identity(folder)?, self.kept.locked());
        if kept.len() >= FOLDERS_REMEMBERED_MAX {
            kept.clear();
        }
        kept.insert(identity);
        Ok(())
    }

    /// Syncs what the library wrote, and its name.
    fn sync_with_name(&self, path: &FsPath) -> io::Result<()> {
        (self.sync)(path)?;
        let Some(folder) = path.parent() else { return Ok(()) };
        self.make(folder)?;
        (self.sync)(folder)
    }
}

/// Device and inode of a folder.
fn identity(folder: &FsPath) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn sync(path: &FsPath) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a file its second name, unless that is taken.
fn link(staging: &FsPath, path: &FsPath) -> io::Result<()> {
    fs::hard_link(staging, path).map_err(|error| match error.kind() {
        // The staging file was made in the same folder a moment ago, so it is not the folder that forbids this:
        // exFAT and some network file systems answer EPERM for links, others that they do not know them.
        ErrorKind::PermissionDenied | ErrorKind::Unsupported => {
            io::Error::new(ErrorKind::Unsupported, format!("cannot link {}: {error}", path.display()))
        }
        _ => error,
    })
}

fn stage(path: &FsPath) -> io::Result<(File, PathBuf)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut name = path.as_os_str().to_owned();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        name.push(format!("#{}{number:012}", std::process::id()));
        let staging = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&staging) {
            Ok(file) => return Ok((file, staging)),
            // Left behind by an earlier process with our id: bounded by their number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes the folder of the store and its parents, and syncs every folder that gained an entry.
fn make_root(folder: &FsPath) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(FsPath::new(""));
    make_root(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync(if parent.as_os_str().is_empty() { FsPath::new(".") } else { parent })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| generic(io::Error::other(error)))?
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: "DurableLocal", source: Box::new(error) }
}

#[cfg(test)]
mod tests;
