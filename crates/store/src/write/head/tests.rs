//! Rules of the head.

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn rows(series: &[(&str, &[(i64, f64)])]) -> Contribution {
    let mut sorted: Vec<_> =
        series.iter().map(|(name, s)| (Labels::from_pairs([("__name__", "m"), ("s", *name)]), s)).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut run = SeriesRun::default();
    for (key, samples) in sorted {
        run.push_floats(key, samples.iter().copied());
    }
    Arc::new(vec![(tenant("a"), run)])
}

fn floats_of(run: &SeriesRun, series_idx: usize) -> Vec<(i64, f64)> {
    run.series(series_idx).floats.iter().collect()
}

fn sorted_names(selection: &HeadSelection) -> Vec<String> {
    selection.keys().map(|key| key.get("s").unwrap().into_owned()).collect()
}

fn head() -> Head {
    let mut head = Head::default();
    head.insert(1, rows(&[("b", &[(1, 1.0)]), ("d", &[(1, 1.5)])]));
    head.insert(2, rows(&[("a", &[(2, 2.0)]), ("b", &[(2, 2.5), (3, 2.75)]), ("c", &[(2, 2.25)])]));
    head.insert(3, rows(&[("b", &[(2, 9.0), (4, 3.0)])]));
    head
}

#[test]
fn rows_are_merged_by_key_and_time_up_to_the_sequence() {
    let rows = head().rows(2);
    assert_eq!(rows.len(), 1);
    let run = &rows[0].1;
    let names: Vec<_> = run.keys().iter().map(|k| k.get("s").unwrap().into_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(floats_of(run, 1), [(1, 1.0), (2, 2.5), (3, 2.75)]);
    assert_eq!(floats_of(&head().rows(3)[0].1, 1), [(1, 1.0), (2, 9.0), (3, 2.75), (4, 3.0)]);
    assert!(head().rows(0).is_empty());
}

#[test]
fn an_unconfirmed_contribution_is_invisible() {
    let all = head().select(&tenant("a"), &[], TimeRange::ALL, 1..2);
    assert_eq!(sorted_names(&all), ["b", "d"]);
    let first_gone = head().select(&tenant("a"), &[], TimeRange::ALL, 2..4);
    assert_eq!(sorted_names(&first_gone), ["a", "b", "c"]);
    assert_eq!(first_gone.rows(1), 4);
}

#[test]
fn selection_prunes_by_tenant_name_matcher_and_time() {
    let select = |tenant_name: &str, matchers: &[Matcher], range| {
        sorted_names(&head().select(&tenant(tenant_name), matchers, range, 0..u64::MAX))
    };
    let none: [String; 0] = [];
    assert_eq!(select("other", &[], TimeRange::ALL), none);
    assert_eq!(select("a", &[Matcher::equal("__name__", "n")], TimeRange::ALL), none);
    let name = Matcher::equal("__name__", "m");
    let regex = Matcher::new("s", MatchOp::Regex, "a|d").unwrap();
    assert_eq!(select("a", &[name.clone(), regex], TimeRange::ALL), ["a", "d"]);
    assert_eq!(select("a", &[name], TimeRange::new(4, 9)), ["b"]);
}

#[test]
fn series_are_found_whether_or_not_they_come_as_expected() {
    let key = |name: &str| Labels::from_pairs([("__name__", "m"), ("s", name)]);
    let interned: Vec<Labels> = ["a", "b", "c", "d", "e"].into_iter().map(key).collect();
    let contribution = |names: &[usize], fresh: bool, ts: i64| {
        let mut run = SeriesRun::default();
        for idx in names {
            // What was decoded from a segment shares no bytes with what is known.
            let key =
                if fresh { Labels::from_key_unchecked(interned[*idx].key()) } else { interned[*idx].clone() };
            run.push_floats(key, [(ts, ts as f64)]);
        }
        Arc::new(vec![(tenant("a"), run)])
    };
    let mut head = Head::default();
    let steps: [(&[usize], bool); 6] = [
        (&[1, 3], false),
        (&[0, 1, 2, 3, 4], false),
        (&[1, 2], true),
        (&[0, 2, 4], false),
        (&[0, 2, 4], true),
        (&[3], false),
    ];
    let mut expected = vec![Vec::new(); 5];
    for (seq, (names, fresh)) in (1..).zip(steps) {
        head.insert(seq, contribution(names, fresh, seq as i64));
        names.iter().for_each(|idx| expected[*idx].push(seq as i64));
    }
    assert_eq!(head.series(), 5);
    let rows = head.rows(6);
    for (idx, ts) in expected.iter().enumerate() {
        assert_eq!(rows[0].1.keys()[idx], interned[idx]);
        assert_eq!(rows[0].1.series(idx).floats.ts(), ts);
    }
}

#[test]
fn a_label_index_finds_what_looking_at_every_series_finds() {
    let labels = |i: usize| {
        let (host, job) = (format!("h{i}"), ["api", "db", "web"][i % 3]);
        let zone = if i.is_multiple_of(4) { "" } else { "eu" };
        Labels::from_pairs([("__name__", "m"), ("host", &host), ("job", job), ("zone", zone)])
    };
    let contribution = |series: Range<usize>, ts: i64| {
        let mut keys: Vec<Labels> = series.map(labels).collect();
        keys.sort();
        let mut run = SeriesRun::default();
        keys.into_iter().for_each(|key| run.push_floats(key, [(ts, 1.0)]));
        Arc::new(vec![(tenant("a"), run)])
    };
    let mut head = Head::default();
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    let cases = [
        vec![matcher("host", MatchOp::Equal, "h77")],
        vec![matcher("host", MatchOp::Equal, "nobody")],
        // The first of each contribution.
        vec![matcher("host", MatchOp::Equal, "h0")],
        vec![matcher("host", MatchOp::Equal, "h1000")],
        vec![matcher("host", MatchOp::Regex, "h1[0-9]7[0-9]")],
        vec![matcher("host", MatchOp::Regex, "h149.*")],
        vec![matcher("host", MatchOp::Regex, "h1[0-9]?5|h9")],
        vec![matcher("host", MatchOp::Regex, "h.*")],
        vec![matcher("host", MatchOp::NotEqual, "h3")],
        vec![matcher("job", MatchOp::Equal, "db"), matcher("host", MatchOp::Regex, "h[12]")],
        vec![matcher("zone", MatchOp::Equal, "")],
        vec![matcher("zone", MatchOp::NotEqual, "")],
        vec![matcher("zone", MatchOp::Regex, "|eu")],
        vec![matcher(METRIC_NAME, MatchOp::Equal, "m"), matcher("host", MatchOp::Equal, "h1400")],
        vec![matcher(METRIC_NAME, MatchOp::Equal, "other"), matcher("host", MatchOp::Equal, "h1")],
    ];
    // The second contribution comes after the indexes were made.
    for (seq, series) in [(1, 0..1_000), (2, 500..1_500)] {
        head.insert(seq, contribution(series.clone(), seq as i64));
        for matchers in &cases {
            let mut expected: Vec<Labels> = (0..series.end).map(labels).collect();
            expected.retain(|key| matchers.iter().all(|m| m.matches_labels(key.as_ref())));
            expected.sort();
            let found = head.select(&tenant("a"), matchers, TimeRange::ALL, 0..9);
            assert!(found.keys().eq(expected.iter()), "{matchers:?}");
        }
    }
}
