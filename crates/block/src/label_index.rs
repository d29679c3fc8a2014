//! Which of many series have which value of one label: when an index answers, and which.
//!
//! Blocks and heads keep their indexes in different ways, since one never changes and the other
//! grows; what they share is here.

use promontory_model::{METRIC_NAME, MatchOp, Matcher};

/// Among fewer series than this every label set is looked at.
pub const INDEXED_SERIES_MIN: usize = 512;

/// An index answers with at most one in so many of the series that the metric name leaves over: looking
/// at all of these in order costs less than more than that out of it.
pub const INDEXED_SHARE: usize = 8;

/// Which series an index of one label leaves over for a matcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// There is no index of the label.
    NoIndex,
    /// More series pass than an index is useful for; see [`INDEXED_SHARE`].
    Many,
    /// Exactly these pass: indices of series.
    Few(Vec<u32>),
}

/// Few series that one of the matchers leaves over; each still has to pass all matchers. `None` if no
/// index says it.
///
/// `ask` answers from the index of the matcher's label; with `true` it may make one. That costs a look at
/// every series, so it is allowed for one label at most, and only where no other has left few over. Of
/// equalities the one with the fewest series is taken; regular expressions look at many values and are
/// asked if no equality answers.
pub fn fewest(matchers: &[Matcher], mut ask: impl FnMut(&Matcher, bool) -> Candidates) -> Option<Vec<u32>> {
    // What also lets series without the label through is no way to find them.
    let finds = |matcher: &&Matcher| matcher.name() != METRIC_NAME && !matcher.matches_empty();
    let (equal, other): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().filter(finds).partition(|matcher| matcher.op() == MatchOp::Equal);
    let (mut best, mut unknown): (Option<Vec<u32>>, Option<&Matcher>) = (None, None);
    for matcher in equal.into_iter().chain(other) {
        if best.is_some() && matcher.op() != MatchOp::Equal {
            break;
        }
        match ask(matcher, false) {
            Candidates::Few(series) if best.as_ref().is_none_or(|best| series.len() < best.len()) => {
                best = Some(series);
            }
            Candidates::NoIndex => unknown = unknown.or(Some(matcher)),
            Candidates::Few(_) | Candidates::Many => {}
        }
    }
    if best.as_ref().is_some_and(|best| best.len() < INDEXED_SERIES_MIN) {
        return best;
    }
    match unknown.map(|matcher| ask(matcher, true)) {
        Some(Candidates::Few(series)) if best.as_ref().is_none_or(|best| series.len() < best.len()) => {
            Some(series)
        }
        _ => best,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks `matchers`, where labels with a number have an index that finds so many series.
    fn asked(matchers: &[Matcher], indexed: &[(&str, usize)]) -> (Option<usize>, Vec<String>) {
        let mut asked = Vec::new();
        let found = fewest(matchers, |matcher, make| {
            asked.push(format!("{}{}", matcher.name(), if make { "!" } else { "" }));
            match indexed.iter().find(|(name, _)| *name == matcher.name()) {
                Some((_, series)) => Candidates::Few(vec![0; *series]),
                None if make => Candidates::Few(vec![0; 7]),
                None => Candidates::NoIndex,
            }
        });
        (found.map(|series| series.len()), asked)
    }

    fn matchers() -> [Matcher; 5] {
        [
            Matcher::equal(METRIC_NAME, "up"),
            Matcher::new("job", MatchOp::Regex, "a|b").unwrap(),
            Matcher::equal("cluster", "c"),
            Matcher::equal("pod", ""),
            Matcher::equal("instance", "i"),
        ]
    }

    #[test]
    fn the_equality_with_the_fewest_series_answers() {
        let (found, asked) = asked(&matchers(), &[("job", 1), ("cluster", 20), ("instance", 10)]);
        assert_eq!((found, asked.join(" ")), (Some(10), "cluster instance".into()));
    }

    #[test]
    fn a_pattern_answers_where_no_equality_does() {
        let (found, asked) = asked(&matchers(), &[("job", 1)]);
        assert_eq!((found, asked.join(" ")), (Some(1), "cluster instance job".into()));
    }

    #[test]
    fn one_index_is_made_where_none_leaves_few_over() {
        let (found, asked_for) = asked(&matchers(), &[]);
        assert_eq!((found, asked_for.join(" ")), (Some(7), "cluster instance job cluster!".into()));
        let (found, asked_for) = asked(&matchers(), &[("cluster", INDEXED_SERIES_MIN)]);
        assert_eq!((found, asked_for.join(" ")), (Some(7), "cluster instance instance!".into()));
    }
}
