//! How loops that ask the store again and again log that it fails: the one policy for all of them.
//!
//! A store that is away fails every loop of a process several times a second. What helps is one line when it
//! begins, one a minute while it lasts, and one when it is over that says how long it took. So the loops of a
//! process share an [`OutageLog`] and tell it how each try went.
//!
//! - An *outage* lasts from the first failed try until every activity that failed has succeeded again.
//! - A line is written for a failure whose reason was not logged within the last minute.
//! - The end is logged if anything of the outage was, so that a store that comes and goes does not fill the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use promontory_model::MutexExt as _;
use tokio::time::Instant;

use crate::error::Error;
use crate::trouble::StoreTrouble;

/// Time between two lines for the same reason.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// Reasons of the last minute that are remembered; further ones are not logged. They are a handful of
/// troubles, but damage names its object.
const REASONS_MAX: usize = 8;

/// Logs the outages of one store, as seen by all loops that ask it.
#[derive(Debug, Default)]
pub struct OutageLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Activities whose last try failed; without any there is no outage.
    failing: BTreeMap<&'static str, Option<StoreTrouble>>,
    begun: Option<Instant>,
    /// Whether anything of this outage was logged.
    is_told: bool,
    /// Failed tries of this outage.
    failures: u64,
    /// When each reason was logged.
    reasons: BTreeMap<String, Instant>,
}

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    None,
    /// A reason that is new.
    Begins,
    /// It lasts since then.
    Lasts(Duration),
    /// It took so long.
    Ends(Duration),
}

impl OutageLog {
    /// A try to do `doing` failed and will be repeated; `doing` follows "cannot" and names the activity.
    pub fn failed(&self, doing: &'static str, error: &Error) {
        let (line, failures) = {
            let mut state = self.state.locked();
            (state.failed(doing, error, Instant::now()), state.failures)
        };
        match line {
            Line::Begins => tracing::warn!(
                trouble = error.trouble().map(tracing::field::display),
                %error,
                "cannot {doing}; it is tried again, with a line a minute while this lasts"
            ),
            Line::Lasts(time) => {
                tracing::warn!(seconds = time.as_secs(), failures, %error, "still cannot {doing}");
            }
            Line::None | Line::Ends(_) => tracing::debug!(%error, "cannot {doing}"),
        }
    }

    /// A try to do `doing` succeeded.
    pub fn succeeded(&self, doing: &'static str) {
        let (line, failures) = {
            let mut state = self.state.locked();
            (state.succeeded(doing, Instant::now()), state.failures)
        };
        if let Line::Ends(time) = line {
            tracing::info!(
                seconds = time.as_secs_f64().round() as u64,
                failures,
                "what failed works again: {doing}"
            );
        }
    }

    /// What is wrong with the store right now, if anything is.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreTrouble> {
        self.state.locked().failing.values().copied().flatten().next()
    }

    /// `text`, and what is wrong with the store right now, if anything is.
    #[must_use]
    pub fn explained(&self, text: String) -> String {
        match self.trouble() {
            Some(trouble) => format!("{text}: {trouble}"),
            None => text,
        }
    }
}

impl State {
    fn failed(&mut self, doing: &'static str, error: &Error, now: Instant) -> Line {
        if self.failing.is_empty() {
            (self.begun, self.is_told, self.failures) = (Some(now), false, 0);
        }
        self.failing.insert(doing, error.trouble());
        self.failures += 1;
        self.reasons.retain(|_, told| now < *told + 2 * LINE_INTERVAL);
        let reason = error.trouble().map_or_else(|| error.to_string(), |trouble| trouble.to_string());
        let is_known = match self.reasons.get(&reason) {
            Some(told) if now < *told + LINE_INTERVAL => return Line::None,
            known => known.is_some(),
        };
        if !is_known && self.reasons.len() >= REASONS_MAX {
            return Line::None;
        }
        self.reasons.insert(reason, now);
        self.is_told = true;
        let lasted = self.begun.map(|begun| now - begun).unwrap_or_default();
        if lasted < LINE_INTERVAL { Line::Begins } else { Line::Lasts(lasted) }
    }

    fn succeeded(&mut self, doing: &'static str, now: Instant) -> Line {
        if self.failing.remove(doing).is_none() || !self.failing.is_empty() || !self.is_told {
            return Line::None;
        }
        Line::Ends(self.begun.map(|begun| now - begun).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        let source = object_store::Error::Generic {
            store: "S3",
            source: "Server returned non-2xx status code: 502 Bad Gateway: ".into(),
        };
        Error::Unavailable { action: "list x".into(), source }
    }

    /// Lines of an outage in which two loops fail every half second for so long.
    fn lines_of(seconds: u64) -> Vec<Line> {
        let (mut state, begun) = (State::default(), Instant::now());
        let mut lines = Vec::new();
        for half in 0..=2 * seconds {
            let now = begun + Duration::from_millis(500 * half);
            lines.push(state.failed("look", &away(), now));
            lines.push(state.failed("write", &away(), now));
        }
        let end = begun + Duration::from_secs(seconds + 1);
        lines.push(state.succeeded("look", end));
        lines.push(state.succeeded("write", end));
        lines.retain(|line| *line != Line::None);
        lines
    }

    #[test]
    fn an_outage_is_logged_when_it_begins_once_a_minute_and_when_it_ends() {
        assert_eq!(lines_of(48), [Line::Begins, Line::Ends(Duration::from_secs(49))]);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let expected = [
            Line::Begins,
            Line::Lasts(minutes(1)),
            Line::Lasts(minutes(2)),
            Line::Ends(Duration::from_secs(131)),
        ];
        assert_eq!(lines_of(130), expected);
    }

    #[test]
    fn another_reason_is_another_line_and_a_store_that_comes_and_goes_is_not_many() {
        let (mut state, begun) = (State::default(), Instant::now());
        assert_eq!(state.failed("look", &away(), begun), Line::Begins);
        assert_eq!(state.failed("look", &Error::Bug("x".into()), begun), Line::Begins);
        assert!(matches!(state.succeeded("look", begun), Line::Ends(_)));
        for _ in 0..10 {
            assert_eq!(state.failed("look", &away(), begun), Line::None);
            assert_eq!(state.succeeded("look", begun), Line::None);
        }
    }

    #[test]
    fn reasons_are_bounded() {
        let (mut state, begun) = (State::default(), Instant::now());
        let lines = (0..100).map(|n| state.failed("look", &Error::Bug(n.to_string()), begun));
        assert_eq!(lines.filter(|line| *line != Line::None).count(), REASONS_MAX);
    }

    #[test]
    fn a_text_is_explained_while_the_store_fails() {
        let log = OutageLog::default();
        let explained = || log.explained("late".into());
        assert_eq!(explained(), "late");
        log.failed("write", &away());
        assert_eq!(explained(), "late: the store or the connection to it fails");
        log.succeeded("write");
        assert_eq!(explained(), "late");
    }
}
