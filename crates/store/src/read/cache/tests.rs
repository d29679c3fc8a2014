//! What is loading is joined, what failed is loaded again.

use std::sync::atomic::AtomicUsize;

use futures::future::{join, poll_immediate};
use tokio::sync::Notify;

use super::*;

fn cache() -> Cache<u32, String> {
    Cache::new(1 << 20, String::len)
}

fn values(loaded: Result<Vec<Arc<String>>, Error>) -> Vec<String> {
    loaded.unwrap().iter().map(|value| value.to_string()).collect()
}

fn echo(keys: Vec<u32>) -> BoxFuture<'static, Result<Vec<String>, Error>> {
    async move {
        tokio::task::yield_now().await;
        Ok(keys.iter().map(|key| format!("v{key}")).collect())
    }
    .boxed()
}

#[tokio::test]
async fn two_who_want_the_same_load_it_once() {
    let (cache, loads) = (cache(), AtomicUsize::new(0));
    let load = |keys: Vec<u32>| {
        loads.fetch_add(keys.len(), Ordering::Relaxed);
        echo(keys)
    };
    let (a, b) = join(cache.get_many(&[1, 2, 3], load), cache.get_many(&[3, 4, 1], load)).await;
    assert_eq!(
        (values(a), values(b)),
        (vec!["v1".into(), "v2".into(), "v3".into()], vec!["v3".to_owned(), "v4".into(), "v1".into()])
    );
    assert_eq!(loads.load(Ordering::Relaxed), 4, "1 to 4, each once");
    assert_eq!(values(cache.get_many(&[4, 2], load).await), ["v4", "v2"]);
    assert_eq!(loads.load(Ordering::Relaxed), 4);
    assert_eq!(cache.counters().hits.load(Ordering::Relaxed), 2);
    assert_eq!(cache.counters().misses.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn an_error_reaches_all_who_joined_and_is_not_kept() {
    let cache = cache();
    let fail = |_| {
        async {
            tokio::task::yield_now().await;
            Err(Error::Corrupt { object: "o".into(), why: "w".into() })
        }
        .boxed()
    };
    let (a, b) = join(cache.get_many(&[1], fail), cache.get_many(&[1], |_| unreachable!("joins"))).await;
    assert!(matches!((a, b), (Err(Error::Corrupt { .. }), Err(Error::Corrupt { .. }))));
    assert_eq!(values(cache.get_many(&[1], echo).await), ["v1"]);
}

#[tokio::test]
async fn a_flight_that_everybody_gave_up_is_started_again() {
    let cache = cache();
    let never = Arc::new(Notify::new());
    let waiting = never.clone();
    let hang = |_| {
        async move {
            waiting.notified().await;
            Ok(vec!["late".to_owned()])
        }
        .boxed()
    };
    assert!(poll_immediate(std::pin::pin!(cache.get_many(&[1], hang))).await.is_none());
    assert_eq!(values(cache.get_many(&[1], echo).await), ["v1"]);
}

#[tokio::test]
async fn a_flight_goes_on_when_its_first_caller_leaves() {
    let cache = cache();
    let go = Arc::new(Notify::new());
    let waiting = go.clone();
    let load = |_| {
        async move {
            waiting.notified().await;
            Ok(vec!["once".to_owned()])
        }
        .boxed()
    };
    let mut first = Box::pin(cache.get_many(&[1], load));
    assert!(poll_immediate(&mut first).await.is_none());
    let mut second = Box::pin(cache.get_many(&[1], |_| unreachable!("joins")));
    assert!(poll_immediate(&mut second).await.is_none());
    drop(first);
    go.notify_one();
    assert_eq!(values(second.await), ["once"]);
}

#[tokio::test]
async fn a_load_that_answers_too_few_is_our_bug() {
    let answer = cache().get_many(&[1, 2], |_| async { Ok(vec!["one".to_owned()]) }.boxed()).await;
    assert!(matches!(answer, Err(Error::Bug(_))));
}
