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
