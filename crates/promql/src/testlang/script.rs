//! Scripts: lines to commands.
//!
//! 1. Trim every line; a line that begins with `#` counts as empty.
//! 2. The first word of a line says which command it is; its block goes to the next empty line.

use promontory_model::labels::quote;
use promontory_model::re2::Re2;

use super::{
    AnnotationsExpected, Eval, EvalTimes, Expected, ExpectedSeries, Load, LoadSeries, TestCommand, TextMatch,
    parse_series, parse_start_timestamps,
};
use crate::duration::parse_duration;
use crate::parser::{ParserSettings, parse, parse_metric_prefix, parse_number, unquote};

/// A script that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    pub message: String,
}

type Read<T> = Result<T, ScriptError>;

/// The commands of a script. Expressions are parsed with everything on.
///
/// # Errors
/// [`ScriptError`] for the first line that cannot be read.
pub fn parse_script(text: &str) -> Result<Vec<TestCommand>, ScriptError> {
    let mut lines = Lines { lines: text.lines().map(clean).collect(), next: 0 };
    let mut commands = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let word = line.split([' ', '\t']).next().unwrap_or_default().to_lowercase();
        commands.push(match word.as_str() {
            "clear" => TestCommand::Clear,
            word if word.starts_with("load") => TestCommand::Load(load(line, number, &mut lines)?),
            word if word.starts_with("eval") => TestCommand::Eval(Box::new(eval(line, number, &mut lines)?)),
            _ => return fail(number, format!("invalid command {}", quote(line))),
        });
    }
    Ok(commands)
}

fn clean(line: &str) -> &str {
    let line = line.trim();
    if line.starts_with('#') { "" } else { line }
}

fn fail<T>(line: usize, message: impl Into<String>) -> Read<T> {
    Err(ScriptError { line, message: message.into() })
}

struct Lines<'a> {
    lines: Vec<&'a str>,
    next: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let line = self.lines.get(self.next)?;
        self.next += 1;
        Some((self.next, line))
    }

    /// The next line of the block, if the block goes on.
    fn next_of_block(&mut self) -> Option<(usize, &'a str)> {
        if self.lines.get(self.next)?.is_empty() {
            return None;
        }
        self.next()
    }
}

fn duration(text: &str, line: usize, what: &str) -> Read<i64> {
    parse_duration(text)
        .or_else(|why| fail(line, format!("invalid {what} definition {}: {why}", quote(text))))
}

/// The next word and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, behind) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    (word, behind.trim_start())
}

// Load.

fn load(command: &str, line: usize, lines: &mut Lines<'_>) -> Read<Load> {
    let (name, step) = word(command);
    let with_nhcb = match name {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return fail(line, "invalid load command. (load[_with_nhcb] <step:duration>)"),
    };
    let step = duration(step, line, "step")?;
    let mut load = Load { line, step, with_nhcb, series: Vec::new() };
    let mut pending = None;
    while let Some((line, text)) = lines.next_of_block() {
        if let Some((metric, offsets)) = start_timestamp_line(text) {
            if pending.is_some() {
                return fail(line, "@st line has no following sample line");
            }
            pending = Some(start_timestamps(metric, offsets, line)?);
            continue;
        }
        let (labels, values) = parse_series(text).or_else(|why| fail(line, why))?;
        let start_timestamps = pending.take();
        if let Some((st_labels, offsets)) = &start_timestamps {
            if *st_labels != labels {
                return fail(line, "@st metric does not match the following sample line metric");
            }
            if offsets.len() != values.len() {
                let (st, samples) = (offsets.len(), values.len());
                return fail(line, format!("@st line has {st} values but sample line has {samples}"));
            }
        }
        load.series.retain(|series| series.labels != labels);
        let start_timestamps = start_timestamps.map(|(_, offsets)| offsets);
        load.series.push(LoadSeries { labels, values, start_timestamps });
    }
    if pending.is_some() {
        return fail(line, "@st line has no following sample line");
    }
    Ok(load)
}

/// `metric{a="b"}@st <offsets>`: the metric must not hold a space.
fn start_timestamp_line(text: &str) -> Option<(&str, &str)> {
    let (metric, offsets) = text.split_at(text.find([' ', '\t'])?);
    Some((metric.strip_suffix("@st")?, offsets))
}

fn start_timestamps(
    metric: &str,
    offsets: &str,
    line: usize,
) -> Read<(promontory_model::Labels, Vec<Option<i64>>)> {
    let labels = match parse_metric_prefix(metric) {
        Ok((labels, end)) if end == metric.len() => labels,
        Ok(_) => return fail(line, format!("invalid @st line metric {}", quote(metric))),
        Err(why) => return fail(line, format!("invalid @st line metric {}: {why}", quote(metric))),
    };
    let offsets =
        parse_start_timestamps(offsets).or_else(|why| fail(line, format!("invalid @st sequence: {why}")))?;
    Ok((labels, offsets))
}

// Eval.

const INVALID_EVAL: &str = "invalid evaluation command. Must be either 'eval[_fail|_warn|_ordered] instant [at <offset:duration>] <query>' or 'eval[_fail|_warn] range from <from> to <to> step <step> <query>'";

fn eval(command: &str, line: usize, lines: &mut Lines<'_>) -> Read<Eval> {
    let (name, rest) = word(command);
    let (kind, rest) = word(rest);
    let (times, expr) = match kind {
        "instant" => instant_times(rest, line)?,
        "range" => range_times(rest, line)?,
        _ => return fail(line, INVALID_EVAL),
    };
    if let Err(why) = parse(expr, &ParserSettings::all()) {
        return fail(line, why.to_string());
    }
    let mut eval = Eval {
        line,
        expr: expr.to_owned(),
        times,
        ordered: false,
        fail: None,
        warnings: AnnotationsExpected::Unsaid,
        infos: AnnotationsExpected::Unsaid,
        expected: Expected::Series { series: Vec::new(), grid: times },
    };
    match (name, kind) {
        ("eval", _) => {}
        ("eval_fail", _) => eval.fail = Some(TextMatch::Any),
        ("eval_warn", _) => eval.warnings = AnnotationsExpected::Each(vec![TextMatch::Any]),
        ("eval_info", _) => eval.infos = AnnotationsExpected::Each(vec![TextMatch::Any]),
        ("eval_ordered", "instant") => eval.ordered = true,
        _ => return fail(line, INVALID_EVAL),
    }
    while let Some((line, text)) = lines.next_of_block() {
        if expectation(&mut eval, name == "eval_fail", line, text)? == Block::Ends {
            break;
        }
    }
    Ok(eval)
}

fn instant_times(text: &str, line: usize) -> Read<(EvalTimes, &str)> {
    let (at, rest) = word(text);
    if at != "at" {
        return fail(line, INVALID_EVAL);
    }
    let (at, expr) = word(rest);
    let at = duration(at, line, "timestamp")?;
    Ok((EvalTimes::Instant { at }, expr))
}

fn range_times(text: &str, line: usize) -> Read<(EvalTimes, &str)> {
    let mut rest = text;
    let mut times = [0; 3];
    let names = [("from", "start timestamp"), ("to", "end timestamp"), ("step", "step")];
    for ((name, what), time) in names.into_iter().zip(&mut times) {
        let (found, behind) = word(rest);
        if found != name {
            return fail(line, INVALID_EVAL);
        }
        let (value, behind) = word(behind);
        *time = duration(value, line, what)?;
        rest = behind;
    }
    let [start, end, step] = times;
    if end < start {
        return fail(line, "invalid test definition, end timestamp is before start timestamp");
    }
    Ok((EvalTimes::Range { start, end, step }, rest))
}

#[derive(PartialEq, Eq)]
enum Block {
    GoesOn,
    Ends,
}

/// Reads one line below an evaluation.
fn expectation(eval: &mut Eval, old_fail: bool, line: usize, text: &str) -> Read<Block> {
    if old_fail && let Some(message) = text.strip_prefix("expected_fail_message") {
        eval.fail = Some(TextMatch::Exact(message.trim().to_owned()));
        return Ok(Block::Ends);
    }
    if old_fail && let Some(pattern) = text.strip_prefix("expected_fail_regexp") {
        eval.fail = Some(found_anywhere(pattern.trim(), line)?);
        return Ok(Block::Ends);
    }
    if let Some(rest) = text.strip_prefix("expect range vector") {
        let (grid, behind) = range_times(rest, line)?;
        if !behind.is_empty() {
            return fail(line, format!("invalid range vector definition {}", quote(text)));
        }
        if let Expected::Series { grid: of, .. } = &mut eval.expected {
            *of = grid;
        }
        return Ok(Block::GoesOn);
    }
    if let Some(rest) = text.strip_prefix("expect string") {
        let Ok(value) = unquote(rest.trim_start()) else {
            return fail(
                line,
                "expected string literal not valid - check that the string is correctly quoted",
            );
        };
        eval.expected = Expected::String(value);
        return Ok(Block::GoesOn);
    }
    if text.split(' ').next() == Some("expect") {
        expect(eval, line, text)?;
        return Ok(Block::GoesOn);
    }
    if let Ok(value) = parse_number(text) {
        eval.expected = Expected::Scalar(value);
        return Ok(Block::Ends);
    }
    expected_series(eval, line, text)?;
    Ok(Block::GoesOn)
}

fn expected_series(eval: &mut Eval, line: usize, text: &str) -> Read<()> {
    let (labels, values) = parse_series(text).or_else(|why| fail(line, why))?;
    let Expected::Series { series, grid } = &mut eval.expected else {
        return fail(line, "a string and series cannot both be expected");
    };
    if values.len() > 1 && matches!(grid, EvalTimes::Instant { .. }) {
        return fail(
            line,
            "expecting multiple values in instant evaluation not allowed. consider using 'expect range vector' directive to enable a range vector result for an instant query",
        );
    }
    series.retain(|series| series.labels != labels);
    series.push(ExpectedSeries { labels, values });
    Ok(())
}

/// `expect <type> [msg:<text>|regex:<pattern>]`
fn expect(eval: &mut Eval, line: usize, text: &str) -> Read<()> {
    let (_, rest) = word(text);
    let (what, rest) = word(rest);
    let condition = if let Some(message) = rest.strip_prefix("msg:") {
        TextMatch::Exact(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        found_anywhere(pattern.trim(), line)?
    } else if rest.is_empty() {
        TextMatch::Any
    } else {
        return fail(
            line,
            "invalid expect statement, must match `expect <type> <match_type>: <string>` format",
        );
    };
    match what {
        "ordered" => eval.ordered = true,
        "fail" if eval.fail.is_some() => {
            return fail(line, "invalid expect lines, multiple expect fail lines are not allowed");
        }
        "fail" => eval.fail = Some(condition),
        "warn" => add(&mut eval.warnings, Some(condition), line, "warn and no_warn")?,
        "no_warn" => add(&mut eval.warnings, None, line, "warn and no_warn")?,
        "info" => add(&mut eval.infos, Some(condition), line, "info and no_info")?,
        "no_info" => add(&mut eval.infos, None, line, "info and no_info")?,
        _ => return fail(line, format!("invalid expected error/annotation type {what}")),
    }
    Ok(())
}

/// Adds a condition on annotations; `None`: there must be no annotation.
fn add(
    expected: &mut AnnotationsExpected,
    condition: Option<TextMatch>,
    line: usize,
    both: &str,
) -> Read<()> {
    match (expected, condition) {
        (AnnotationsExpected::Each(conditions), Some(condition)) => conditions.push(condition),
        (AnnotationsExpected::None, None) => {}
        (unsaid @ AnnotationsExpected::Unsaid, Some(condition)) => {
            *unsaid = AnnotationsExpected::Each(vec![condition]);
        }
        (unsaid @ AnnotationsExpected::Unsaid, None) => *unsaid = AnnotationsExpected::None,
        _ => return fail(line, format!("invalid expect lines, {both} cannot be used together")),
    }
    Ok(())
}

/// Go's patterns here are not anchored, and their dots do not match newlines.
fn found_anywhere(pattern: &str, line: usize) -> Read<TextMatch> {
    match Re2::new_anchored(&format!("(?s:.*)(?-s:{pattern})(?s:.*)")) {
        Ok(regex) => Ok(TextMatch::Regex(pattern.to_owned(), Box::new(regex))),
        Err(why) => fail(line, format!("invalid regex {pattern}: {why}")),
    }
}
