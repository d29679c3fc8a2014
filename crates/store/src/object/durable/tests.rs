//! Rules of the local store. That bytes survive a power loss cannot be shown here; that the calls
//! keep their meaning can.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::*;

async fn names(store: &DurableLocal) -> Vec<String> {
    let mut names: Vec<String> =
        store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

#[tokio::test]
async fn create_has_one_winner_and_leaves_no_staging_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(&folder.path().join("new/data")).unwrap();
    let path = Path::from("a/b/1");
    let race = (0..16).map(|i| store.put_opts(&path, format!("{i}").into(), create()));
    let answers = futures::future::join_all(race).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let lost = answers.iter().filter(|answer| matches!(answer, Err(Error::AlreadyExists { .. })));
    assert_eq!(lost.count(), 15);
    assert_eq!(names(&store).await, ["a/b/1"]);
    let files = fs::read_dir(folder.path().join("new/data/a/b")).unwrap().count();
    assert_eq!(files, 1, "staging files are gone");
}

#[tokio::test]
async fn a_put_survives_the_clean_up_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path()).unwrap();
    let churn = async {
        for i in 0..200 {
            let path = Path::from(format!("x/{}", i % 2));
            store.put_opts(&path, "1".into(), PutOptions::default()).await.unwrap();
            store.delete(&path).await.unwrap();
        }
    };
    let puts = async {
        for i in 0..200 {
            store.put_opts(&Path::from(format!("x/y/{i}")), "1".into(), create()).await.unwrap();
            store.delete(&Path::from(format!("x/y/{i}"))).await.unwrap();
        }
    };
    tokio::join!(churn, puts);
}

#[tokio::test]
async fn overwrite_and_multipart_replace_the_object() {
    let folder = tempfile::tempdir().unwrap();
    let store = DurableLocal::open(folder.path()).unwrap();
    let path = Path::from("o");
    store.put_opts(&path, "old".into(), create()).await.unwrap();
    store.put(&path, "new".into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "new");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("part".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "part");
}

thread_local! {
    /// The folders and files whose sync fails, by the end of their paths, and what was synced.
    static FAILING: std::cell::RefCell<(Vec<&'static str>, Vec<PathBuf>)> = std::cell::RefCell::default();
}

fn sync_or_fail(path: &FsPath) -> io::Result<()> {
    FAILING.with_borrow_mut(|(failing, synced)| {
        if failing.iter().any(|end| path.ends_with(end)) {
            return Err(io::Error::other("told to fail"));
        }
        synced.push(path.to_owned());
        Ok(())
    })
}

/// A store of one thread over an empty folder; the second is where its objects lie.
fn failing(folder: &tempfile::TempDir) -> Folders {
    FAILING.set(Default::default());
    Folders { root: folder.path().to_owned(), kept: Mutex::default(), sync: sync_or_fail }
}

fn fail(ends: &[&'static str]) {
    FAILING.with_borrow_mut(|(failing, synced)| {
        *failing = ends.to_vec();
        synced.clear();
    });
}

fn synced(folder: &FsPath) -> bool {
    FAILING.with_borrow(|(_, synced)| synced.iter().any(|path| path == folder))
}

#[test]
fn a_name_that_a_failed_sync_left_behind_is_no_answer_before_it_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let (folders, path) = (failing(&folder), folder.path().join("wal/w/1"));
    let put = || folders.put(&path, &"ours".into(), true);
    fail(&["wal/w"]);
    for _ in 0..3 {
        // The name is there after the first, and nothing may say so.
        assert!(matches!(put(), Err(Error::Generic { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"ours");
    }
    fail(&[]);
    assert!(matches!(put(), Err(Error::AlreadyExists { .. })));
    assert!(synced(&folder.path().join("wal/w")));
}

#[test]
fn a_folder_that_a_failed_sync_left_behind_is_synced_by_the_next_put() {
    for (failing_end, made) in [("wal", "wal/w"), ("", "wal")] {
        let folder = tempfile::tempdir().unwrap();
        let folders = failing(&folder);
        let root = folder.path().file_name().unwrap().to_str().unwrap().to_owned().leak();
        fail(&[if failing_end.is_empty() { root } else { failing_end }]);
        let put = |name: &str| folders.put(&folder.path().join(name), &"x".into(), true);
        assert!(put("wal/w/1").is_err());
        assert!(folder.path().join(made).is_dir());
        assert!(put("wal/w/2").is_err(), "the name of {made} may not outlast a power loss");
        fail(&[]);
        put("wal/w/2").unwrap();
        assert!(synced(folder.path().join(made).parent().unwrap()));
        // And only once.
        fail(&["wal"]);
        put("wal/w/3").unwrap();
        // Another folder of the same name is another one.
        fs::remove_dir_all(folder.path().join("wal/w")).unwrap();
        assert!(put("wal/w/4").is_err());
    }
}
