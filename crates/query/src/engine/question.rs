//! From texts to checked queries: work of the request, on the query runtime, charged to it.
//!
//! A regular expression may take a megabyte and ten milliseconds to compile, so that a text of 64 KB is seconds of
//! work: it has a place and a deadline like any other.

use std::time::Duration;

use promontory_model::Matcher;
use promontory_plan::QuerySettings;
use promontory_promql::ast::{Expr, QueryTimes};
use promontory_promql::engine::{EngineError, InstantQuery, Question, RangeQuery};
use promontory_promql::{Grid, ValueType, parse_counted};

use crate::context::QueryContext;
use crate::error::engine_error_of;
use crate::memory::REGEXES;
use crate::settings::{EngineSettings, too_many_points};

/// A checked query.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) text: String,
    pub(super) expr: Expr,
    pub(super) grid: Grid,
    pub(super) kind: QueryKind,
    pub(super) settings: QuerySettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryKind {
    Instant,
    Range,
}

impl EngineSettings {
    /// Parses, and charges what the regular expressions take.
    pub(super) fn parse(&self, text: &str, context: &QueryContext) -> Result<Expr, EngineError> {
        let running = || context.running().map_err(|error| engine_error_of(&error));
        running()?;
        let (expr, regex_bytes) = parse_counted(text, &self.parser())?;
        let charged = context.kept().grow(regex_bytes, REGEXES);
        charged.map_err(|error| engine_error_of(&error))?;
        running()?;
        Ok(expr)
    }

    fn resolved(&self, text: &str, times: QueryTimes, context: &QueryContext) -> Result<Expr, EngineError> {
        let mut expr = self.parse(text, context)?;
        expr.resolve(times).map_err(|error| EngineError::Invalid(error.to_string()))?;
        Ok(expr)
    }

    fn of_query(&self, times: QueryTimes, lookback: Option<Duration>) -> QuerySettings {
        let lookback = lookback.filter(|wish| !wish.is_zero()).unwrap_or(self.lookback_delta);
        QuerySettings {
            start: times.start,
            end: times.end,
            step: times.step,
            lookback: millis(lookback),
            subquery_step: millis(self.subquery_step).max(1),
            samples_max: self.samples_max,
            delayed_name_removal: self.delayed_name_removal,
        }
    }

    /// The selectors of an expression that nobody evaluates.
    pub(super) fn selectors(
        &self,
        text: &str,
        context: &QueryContext,
    ) -> Result<Vec<Vec<Matcher>>, EngineError> {
        let expr = self.parse(text, context)?;
        Ok(expr.selectors().into_iter().map(<[Matcher]>::to_vec).collect())
    }

    pub(super) fn check(&self, question: &Question, context: &QueryContext) -> Result<Query, EngineError> {
        match question {
            Question::Instant(query) => self.check_instant(query, context),
            Question::Range(query) => self.check_range(query, context),
        }
    }

    fn check_instant(&self, query: &InstantQuery, context: &QueryContext) -> Result<Query, EngineError> {
        let times = QueryTimes { start: query.time, end: query.time, step: 0 };
        Ok(Query {
            text: query.expr.clone(),
            expr: self.resolved(&query.expr, times, context)?,
            grid: Grid::instant(query.time),
            kind: QueryKind::Instant,
            settings: self.of_query(times, query.lookback_delta),
        })
    }

    fn check_range(&self, query: &RangeQuery, context: &QueryContext) -> Result<Query, EngineError> {
        let bad = |text: &str| Err(EngineError::Invalid(text.into()));
        if query.step <= 0 {
            return bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            );
        }
        if query.end < query.start {
            return bad("end timestamp must not be before start time");
        }
        let grid = Grid::new(query.start, query.end, query.step);
        if grid.steps > self.points_max.saturating_add(1) {
            return Err(too_many_points());
        }
        let times = QueryTimes { start: query.start, end: query.end, step: query.step };
        let expr = self.resolved(&query.expr, times, context)?;
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            let kind = expr.value_type().documented();
            return bad(&format!(
                "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
            ));
        }
        let settings = self.of_query(times, query.lookback_delta);
        Ok(Query { text: query.expr.clone(), expr, grid, kind: QueryKind::Range, settings })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
