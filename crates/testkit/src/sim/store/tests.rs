//! Every fault does what its name says, and nothing that the store promises is broken by it.

use object_store::ObjectStoreExt;

use super::*;

fn client(faults: Faults) -> (Arc<World>, SimStore) {
    let world = World::new(1, Ground::Service, faults, 1);
    let store = SimStore::new(world.clone(), Process::new("p"));
    (world, store)
}

fn quick(change: impl FnOnce(&mut Faults)) -> Faults {
    let mut faults = Faults::none();
    change(&mut faults);
    faults
}

async fn create(store: &SimStore, key: &str, bytes: &'static [u8]) -> Result<PutResult> {
    store.put_opts(&Path::from(key), PutPayload::from_static(bytes), PutMode::Create.into()).await
}

async fn read(store: &SimStore, key: &str) -> Option<Bytes> {
    match store.get(&Path::from(key), &GetOptions::default()).await {
        Ok(got) => Some(got.bytes().await.unwrap()),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn create_has_one_winner() {
    let (_, store) = client(Faults::none());
    let creates = (0..16).map(|_| create(&store, "a", b"x"));
    let won = futures::future::join_all(creates).await.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1);
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_effect_leaves_nothing_and_one_after_it_leaves_the_object() {
    let (world, store) = client(quick(|f| f.error_before = 10_000));
    assert!(create(&store, "a", b"x").await.is_err());
    world.set_faults(quick(|f| f.error_after = 10_000));
    assert!(matches!(create(&store, "b", b"x").await, Err(Error::Generic { .. })));
    world.set_faults(Faults::none());
    assert_eq!(read(&store, "a").await, None);
    assert_eq!(read(&store, "b").await.as_deref(), Some(&b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn already_exists_says_nothing_about_who_won() {
    let (world, store) = client(quick(|f| f.own_already_exists = 10_000));
    assert!(matches!(create(&store, "own", b"x").await, Err(Error::AlreadyExists { .. })));
    world.set_faults(quick(|f| f.phantom_already_exists = 10_000));
    assert!(matches!(create(&store, "nobody", b"x").await, Err(Error::AlreadyExists { .. })));
    world.set_faults(Faults::none());
    assert!(read(&store, "own").await.is_some());
    assert!(read(&store, "nobody").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_late_put_lands_after_its_error_and_loses_to_who_came_first() {
    let faults = quick(|f| {
        f.late_landing = 10_000;
        f.late_ms = 60_000..=60_000;
    });
    let (world, store) = client(faults);
    assert!(create(&store, "a", b"late").await.is_err());
    assert!(create(&store, "b", b"late").await.is_err());
    world.set_faults(Faults::none());
    assert!(read(&store, "a").await.is_none());
    create(&store, "b", b"first").await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(read(&store, "a").await.as_deref(), Some(&b"late"[..]));
    assert_eq!(read(&store, "b").await.as_deref(), Some(&b"first"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_put_of_a_killed_process_may_still_land() {
    let faults = quick(|f| {
        f.orphan_lands = 10_000;
        f.late_ms = 1_000..=1_000;
        f.latency_ms = 100..=100;
    });
    let (_, reader) = client(faults.clone());
    let dying = SimStore::new(reader.world.clone(), Process::new("dying"));
    let process = dying.process.clone();
    let task = process.spawn(async move { create(&dying, "a", b"x").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    process.kill();
    let _ = task.await;
    assert!(read(&reader, "a").await.is_none());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(read(&reader, "a").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_process_dies_in_the_operation_and_phase_that_was_asked_for() {
    for (phase, there) in [(CrashPhase::BeforeEffect, false), (CrashPhase::AfterEffect, true)] {
        let (_, reader) = client(Faults::none());
        let dying = SimStore::new(reader.world.clone(), Process::new("dying"));
        let process = dying.process.clone();
        process.crash_at(2, phase);
        let task = process.spawn(async move {
            create(&dying, "a", b"x").await.unwrap();
            create(&dying, "b", b"x").await
        });
        assert!(task.await.map_or(true, |answer| answer.is_none()));
        assert!(process.is_dead());
        assert!(read(&reader, "a").await.is_some());
        assert_eq!(read(&reader, "b").await.is_some(), there, "{phase:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_misses_the_young_and_shows_the_dead() {
    let (world, store) = client(Faults::none());
    create(&store, "d/old", b"x").await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    create(&store, "d/young", b"x").await.unwrap();
    store.delete(&Path::from("d/old")).await.unwrap();
    let names = async |store: &SimStore| {
        let metas: Vec<ObjectMeta> = store.list(Some(&Path::from("d"))).try_collect().await.unwrap();
        metas.into_iter().map(|meta| meta.location.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&store).await, ["d/young"]);
    world.set_faults(quick(|f| {
        f.stale_list = 10_000;
        f.stale_list_ms = 50_000..=50_000;
    }));
    assert_eq!(names(&store).await, ["d/old"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_many_pages_is_whole_where_nothing_changes() {
    let (_, store) = client(Faults::none());
    for i in 0..500 {
        create(&store, &format!("d/{i:04}/x"), b"x").await.unwrap();
    }
    create(&store, "dd", b"x").await.unwrap();
    let metas: Vec<ObjectMeta> = store.list(Some(&Path::from("d"))).try_collect().await.unwrap();
    assert_eq!(metas.len(), 500);
    assert!(metas.windows(2).all(|two| two[0].location < two[1].location));
    let folders = store.list_with_delimiter(Some(&Path::from("d"))).await.unwrap();
    assert_eq!((folders.common_prefixes.len(), folders.objects.len()), (500, 0));
}

#[tokio::test(start_paused = true)]
async fn damage_changes_what_is_returned_and_never_what_is_stored() {
    let (world, store) = client(Faults::none());
    create(&store, "a", b"0123456789").await.unwrap();
    world.set_faults(quick(|f| f.damage = 10_000));
    for _ in 0..20 {
        assert_ne!(read(&store, "a").await.as_deref(), Some(&b"0123456789"[..]));
    }
    world.set_faults(Faults::none());
    assert_eq!(read(&store, "a").await.as_deref(), Some(&b"0123456789"[..]));
}

#[tokio::test(start_paused = true)]
async fn last_modified_is_the_stores_own_rounded_time() {
    let world = World::new(1, Ground::Service, Faults::none(), 1_000);
    let store = SimStore::new(world, Process::new("p"));
    tokio::time::sleep(Duration::from_millis(7_900)).await;
    store.put(&Path::from("a"), "x".into()).await.unwrap();
    let meta = store.head(&Path::from("a")).await.unwrap();
    assert_eq!(meta.last_modified.timestamp_millis(), EPOCH_MS + 7_000);
    assert_eq!(meta.size, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upload_in_parts_is_invisible_until_it_is_complete() {
    let (_, store) = client(Faults::none());
    let path = Path::from("a");
    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("xx".into()).await.unwrap();
    assert!(read(&store, "a").await.is_none());
    upload.put_part("y".into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(read(&store, "a").await.as_deref(), Some(&b"xxy"[..]));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_trace() {
    async fn run(seed: u64) -> u64 {
        let faults = quick(|f| {
            f.error_before = 1_000;
            f.error_after = 1_000;
            f.late_landing = 1_000;
            f.late_ms = 0..=100;
            f.slow = 1_000;
            f.slow_ms = 0..=1_000;
        });
        let world = World::new(seed, Ground::Service, faults, 1);
        let clients = (0..4).map(|i| {
            let process = Process::new(format!("p{i}"));
            let store = SimStore::new(world.clone(), process.clone());
            process.spawn(async move {
                for n in 0..20 {
                    let _ = create(&store, &format!("k/{n}"), b"x").await;
                    let _ = store.get_opts(&Path::from(format!("k/{n}")), GetOptions::default()).await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
        world.trace()
    }
    let first = run(5).await;
    assert_eq!(first, run(5).await);
    assert_ne!(first, run(6).await);
}
