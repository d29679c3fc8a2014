//! Who gets a place, and who loses it for that.

use std::time::Duration;

use tokio::time::sleep;

use super::*;

type Come = (Arc<Place>, oneshot::Receiver<Closing>);

fn places(connections_max: usize, waiting_per_peer_max: usize) -> Arc<Places> {
    Places::new(ServerLimits { connections_max, waiting_per_peer_max, ..ServerLimits::default() })
}

fn come(places: &Arc<Places>, peer: &str) -> Option<Come> {
    let (place, told) = places.admit(peer.parse().unwrap())?;
    Some((Arc::new(place), told))
}

fn told((_, told): &mut Come) -> Option<Closing> {
    told.try_recv().ok()
}

fn closed(places: &Places, closing: Closing) -> u64 {
    places.counters().closed().iter().find(|(each, _)| *each == closing).unwrap().1
}

#[tokio::test]
async fn where_all_places_are_taken_the_one_that_waits_longest_makes_room() {
    let places = places(2, 9);
    let mut first = come(&places, "10.0.0.1").unwrap();
    let mut second = come(&places, "10.0.0.2").unwrap();
    // A request, and it is the last in turn.
    drop(first.0.request());
    let mut third = come(&places, "10.0.0.3").unwrap();
    assert_eq!(
        (told(&mut first), told(&mut second), told(&mut third)),
        (None, Some(Closing::Displaced), None)
    );
    assert_eq!(third.0.kind, PlaceKind::Whole);
    assert_eq!((places.connected().waiting, closed(&places, Closing::Displaced)), (2, 1));

    // What was closed does not come back by what it still does.
    drop(second.0.request());
    drop(second);
    assert_eq!(places.connected(), Connected { in_flight: 0, waiting: 2 });
    drop((first, third));
    assert_eq!(places.connected(), Connected::default());
}

#[tokio::test]
async fn a_request_in_flight_keeps_its_place_and_probes_have_some_beyond() {
    let places = places(2, 99);
    let mut busy = [come(&places, "10.0.0.1").unwrap(), come(&places, "10.0.0.1").unwrap()];
    let requests = [busy[0].0.request(), busy[0].0.request(), busy[1].0.request()];
    let probes: Vec<Come> = (0..PROBE_PLACES).map(|_| come(&places, "10.0.0.2").unwrap()).collect();
    let [first, .., last] = &probes[..] else { panic!("many places") };
    assert_eq!((first.0.kind, last.0.kind), (PlaceKind::Probe, PlaceKind::Probe));
    assert_eq!(closed(&places, Closing::Displaced), 0);
    // The first of those waits longest, and its place stays one for probes.
    assert_eq!(come(&places, "10.0.0.3").unwrap().0.kind, PlaceKind::Probe);
    assert_eq!(closed(&places, Closing::Displaced), 1);
    drop(probes);

    let probes: Vec<Come> = (0..PROBE_PLACES).map(|_| come(&places, "10.0.0.2").unwrap()).collect();
    let answered: Vec<InFlight> = probes.iter().map(|(place, _)| place.request()).collect();
    assert!(come(&places, "10.0.0.3").is_none());
    assert_eq!(closed(&places, Closing::Full), 1);
    assert_eq!(busy.each_mut().map(told), [None, None]);

    let [one, two, three] = requests;
    drop((one, three));
    let next = come(&places, "10.0.0.3").unwrap();
    assert_eq!((next.0.kind, told(&mut busy[1])), (PlaceKind::Whole, Some(Closing::Displaced)));
    assert_eq!(told(&mut busy[0]), None, "it has a second request");
    drop((two, answered));
}

#[tokio::test]
async fn a_peer_has_so_many_that_wait_and_any_number_in_flight() {
    let places = places(100, 2);
    let mut of_one: Vec<Come> = (0..2).map(|_| come(&places, "10.0.0.1").unwrap()).collect();
    let mut other = come(&places, "10.0.0.2").unwrap();
    of_one.push(come(&places, "::ffff:10.0.0.1").unwrap());
    let all: Vec<_> = of_one.iter_mut().map(told).collect();
    assert_eq!(all, [Some(Closing::PeerLimit), None, None]);

    // In flight they do not count; one whose request ends waits again.
    let requests: Vec<InFlight> = of_one[1..].iter().map(|(place, _)| place.request()).collect();
    of_one.extend((0..2).map(|_| come(&places, "10.0.0.1").unwrap()));
    assert_eq!(of_one[1..].iter_mut().map(told).collect::<Vec<_>>(), [None; 4]);
    drop(requests);
    let all: Vec<_> = of_one[1..].iter_mut().map(told).collect();
    assert_eq!(all, [None, None, Some(Closing::PeerLimit), Some(Closing::PeerLimit)]);
    assert_eq!((told(&mut other), closed(&places, Closing::PeerLimit)), (None, 3));

    // A host with IPv6 has 2^64 addresses.
    let mut of_host: Vec<Come> = (1..4).map(|n| come(&places, &format!("2001:db8::{n}")).unwrap()).collect();
    let mut neighbour = come(&places, "2001:db8:0:1::1").unwrap();
    let all: Vec<_> = of_host.iter_mut().chain([&mut neighbour]).map(told).collect();
    assert_eq!(all, [Some(Closing::PeerLimit), None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_after_the_first_head_s_time_or_the_time_between_requests() {
    let limits = ServerLimits {
        header_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(300),
        ..ServerLimits::default()
    };
    let places = Places::new(limits);
    let begun = Instant::now();
    let (silent, _told) = come(&places, "10.0.0.1").unwrap();
    assert_eq!((silent.overdue().await, begun.elapsed().as_secs()), (Closing::HeaderTimeout, 10));

    let (kept, _told) = come(&places, "10.0.0.1").unwrap();
    let begun = Instant::now();
    let request = kept.request();
    let serve = async {
        sleep(Duration::from_secs(1_000)).await;
        drop(request);
    };
    let (closing, ()) = tokio::join!(kept.overdue(), serve);
    assert_eq!((closing, begun.elapsed().as_secs()), (Closing::IdleTimeout, 1_300));
}
