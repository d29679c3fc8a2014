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

/// The fewest series that one of the matchers leaves over, by the `series_of` that have a value which
/// passes; `None` if no matcher says it or they are too many. Each still has to pass all matchers.
///
/// Regular expressions are asked only if no equality answers, since they look at many values.
pub fn fewest(
    matchers: &[Matcher],
    mut series_of: impl FnMut(&Matcher) -> Option<Vec<u32>>,
) -> Option<Vec<u32>> {
    // What also lets series without the label through is no way to find them.
    let finds = |matcher: &&Matcher| matcher.name() != METRIC_NAME && !matcher.matches_empty();
    let (equal, other): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().filter(finds).partition(|matcher| matcher.op() == MatchOp::Equal);
    let by_equality = equal.into_iter().filter_map(&mut series_of).min_by_key(Vec::len);
    by_equality.or_else(|| other.into_iter().find_map(series_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equality_with_few_series_goes_before_the_others() {
        let matchers = [
            Matcher::equal(METRIC_NAME, "up"),
            Matcher::new("job", MatchOp::Regex, "a|b").unwrap(),
            Matcher::equal("cluster", "c"),
            Matcher::equal("pod", ""),
            Matcher::equal("instance", "i"),
        ];
        let mut asked = Vec::new();
        let found = fewest(&matchers, |matcher| {
            asked.push(matcher.name().to_owned());
            Some(vec![0; if matcher.name() == "instance" { 1 } else { 2 }])
        });
        assert_eq!((found, asked), (Some(vec![0]), vec!["cluster".into(), "instance".into()]));
    }

    #[test]
    fn other_matchers_are_asked_where_no_equality_answers() {
        let matchers = [Matcher::equal("cluster", "c"), Matcher::new("job", MatchOp::NotEqual, "").unwrap()];
        let found = fewest(&matchers, |matcher| (matcher.name() == "job").then(|| vec![3, 5]));
        assert_eq!(found, Some(vec![3, 5]));
    }
}
