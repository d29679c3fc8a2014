//! Prometheus' own PromQL scripts against any route to the engine: in process, through bucket and
//! HTTP, distributed.
//!
//! A [`Route`] loads series and evaluates expressions; [`run_script`] does with it what upstream's
//! runner does: every instant evaluation also with `@` written onto its selectors at other times, and
//! as the middle of a three-step range query. [`Ratchet`] is the list of what passes, which only
//! grows.
//!
//! An evaluation that looks at series which the route cannot hold (native histograms, start
//! timestamps) does not pass, whatever comes out: an empty result would be no merit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use promontory_model::samples::SampleValue;
use promontory_model::{Labels, LabelsBuilder, METRIC_NAME};
use promontory_promql::engine::{Annotations, Sample, Series, Value};
use promontory_promql::testlang::{
    Eval, EvalTimes, Expected, Load, LoadSeries, SequenceValue, TestCommand, parse_script,
};
use promontory_promql::{ParserSettings, parse};

/// Where the scripts lie, if the environment does not say otherwise: beside the checkout.
const DEFAULT_FOLDER: &str = "../shared/conformance";
/// Says where the conformance material lies.
pub const FOLDER_VARIABLE: &str = "PROMONTORY_CONFORMANCE";
/// If set, ratchet files are written anew.
pub const BLESS_VARIABLE: &str = "PROMONTORY_BLESS";

/// One series of a load: labels, and samples ascending in time.
pub type FloatSeries = (Labels, Vec<(i64, f64)>);

/// A way to the engine under test.
pub trait Route {
    /// Forgets all series.
    ///
    /// # Errors
    /// A text that says why that is impossible.
    fn clear(&mut self) -> Result<(), String>;

    /// Adds samples; they must be visible to the next evaluation.
    ///
    /// # Errors
    /// A text that says why that is impossible.
    fn load(&mut self, series: &[FloatSeries]) -> Result<(), String>;

    /// Evaluates at one time, in milliseconds.
    ///
    /// # Errors
    /// The error's text as the engine gives it.
    fn instant(&mut self, expr: &str, time: i64) -> Result<(Value, Annotations), String>;

    /// Evaluates over a grid, in milliseconds.
    ///
    /// # Errors
    /// The error's text as the engine gives it.
    fn range(&mut self, expr: &str, start: i64, end: i64, step: i64) -> Result<(Value, Annotations), String>;
}

/// What became of one evaluation of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalOutcome {
    /// Line of the script on which the evaluation stands, from 1.
    pub line: usize,
    /// Why it does not pass.
    pub result: Result<(), String>,
}

/// The folder with the scripts, or why there is none.
///
/// # Errors
/// A text for the report of what is skipped.
pub fn folder(part: &str) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let chosen = std::env::var_os(FOLDER_VARIABLE).map_or_else(|| root.join(DEFAULT_FOLDER), PathBuf::from);
    let folder = chosen.join(part);
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(format!("{} is no folder; set {FOLDER_VARIABLE}", folder.display()))
}

/// The scripts of a folder by file name.
///
/// # Errors
/// If the folder or a script cannot be read.
pub fn scripts(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut scripts = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "test") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            scripts.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(scripts)
}

/// Runs one script; one outcome per evaluation, in order.
///
/// # Errors
/// If the script cannot be read or the route cannot be cleared.
pub fn run_script(text: &str, route: &mut dyn Route) -> Result<Vec<EvalOutcome>, String> {
    let commands = parse_script(text).map_err(|error| error.to_string())?;
    route.clear()?;
    let mut missing: Vec<Labels> = Vec::new();
    let mut broken: Option<String> = None;
    let mut outcomes = Vec::new();
    for command in &commands {
        match command {
            TestCommand::Clear => {
                route.clear()?;
                missing.clear();
                broken = None;
            }
            TestCommand::Load(load) => {
                if let Err(error) = load_into(load, route, &mut missing) {
                    broken = Some(format!("cannot load line {}: {error}", load.line));
                }
            }
            TestCommand::Eval(eval) => {
                let result = match &broken {
                    Some(error) => Err(error.clone()),
                    None => looks_at_missing(eval, &missing).and_then(|()| evaluate(eval, route)),
                };
                outcomes.push(EvalOutcome { line: eval.line, result });
            }
        }
    }
    Ok(outcomes)
}

fn load_into(load: &Load, route: &mut dyn Route, missing: &mut Vec<Labels>) -> Result<(), String> {
    let mut series = Vec::new();
    for loaded in &load.series {
        match floats(loaded, load.step) {
            Some(samples) => series.push((loaded.labels.clone(), samples)),
            None => missing.push(loaded.labels.clone()),
        }
        if load.with_nhcb {
            missing.extend(native_of_classic(&loaded.labels));
        }
    }
    route.load(&series)
}

/// The samples of a series that is all floats without start timestamps.
fn floats(series: &LoadSeries, step: i64) -> Option<Vec<(i64, f64)>> {
    if series.start_timestamps.is_some() {
        return None;
    }
    series
        .samples(step)
        .map(|sample| match sample.value {
            SequenceValue::Float(value) => Some((sample.ts, *value)),
            SequenceValue::Histogram(_) | SequenceValue::Omitted => None,
        })
        .collect()
}

/// The native histogram that `load_with_nhcb` adds for a classic bucket.
fn native_of_classic(labels: &Labels) -> Option<Labels> {
    let metric = labels.as_ref().metric_name();
    let name = metric.strip_suffix("_bucket")?;
    let mut builder = LabelsBuilder::from(labels.as_ref());
    Some(builder.remove("le").set(METRIC_NAME, name).build())
}

fn looks_at_missing(eval: &Eval, missing: &[Labels]) -> Result<(), String> {
    if missing.is_empty() {
        return Ok(());
    }
    let Ok(expr) = parse(&eval.expr, &ParserSettings::all()) else { return Ok(()) };
    for matchers in expr.selectors() {
        let seen = |labels: &&Labels| matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref()));
        if let Some(labels) = missing.iter().find(seen) {
            return Err(format!("looks at {labels}, which is no series of floats"));
        }
    }
    Ok(())
}

/// Everything that upstream's runner asks of one evaluation.
fn evaluate(eval: &Eval, route: &mut dyn Route) -> Result<(), String> {
    let time = match eval.times {
        EvalTimes::Range { start, end, step } => {
            return check(eval, &eval.expr, route.range(&eval.expr, start, end, step)).map(|_| ());
        }
        EvalTimes::Instant { at } => at,
    };
    let mut cases = vec![(eval.expr.clone(), time)];
    cases.extend(eval.at_modifier_cases().map_err(|error| error.to_string())?);
    for (expr, time) in cases {
        let answered =
            check(eval, &expr, route.instant(&expr, time)).map_err(|error| format!("at {time}: {error}"))?;
        let Some(EvalTimes::Range { start, end, step }) = eval.range_case(&expr, time).filter(|_| answered)
        else {
            continue;
        };
        let (value, _) =
            route.range(&expr, start, end, step).map_err(|error| format!("in a range: {error}"))?;
        let middle = at_step(value, time, matches!(eval.expected, Expected::Scalar(_)))?;
        eval.check_value(&middle).map_err(|error| format!("{expr} at {time} in a range: {error}"))?;
    }
    Ok(())
}

/// What a range query says of one of its steps; its series must be sorted.
fn at_step(value: Value, time: i64, scalar: bool) -> Result<Value, String> {
    let Value::Matrix(matrix) = value else { return Err("a range query must answer a matrix".into()) };
    if !matrix.is_sorted_by(|a, b| a.labels.as_ref().cmp_prometheus(b.labels.as_ref()).is_le()) {
        return Err("a matrix must be sorted by labels".into());
    }
    let at = |series: Series| {
        series.samples.at(time).map(|value| Sample { labels: series.labels, ts: time, value })
    };
    let mut samples: Vec<Sample> = matrix.into_iter().filter_map(at).collect();
    if !scalar {
        return Ok(Value::Vector(samples));
    }
    match samples.pop().map(|sample| sample.value) {
        Some(SampleValue::Float(value)) => Ok(Value::Scalar { ts: time, value }),
        other => Err(format!("a scalar has a float, not {other:?}")),
    }
}

/// True if there was an answer and it is the expected one; false if the expected failure came.
fn check(eval: &Eval, expr: &str, answer: Result<(Value, Annotations), String>) -> Result<bool, String> {
    match answer {
        Err(error) => {
            eval.check_failure(&error).map_err(|mismatch| format!("{expr}: {mismatch}"))?;
            Ok(false)
        }
        Ok(_) if eval.fail.is_some() => Err(format!("{expr}: succeeded, but must fail")),
        Ok((value, annotations)) => {
            eval.check_annotations(&annotations).map_err(|mismatch| format!("{expr}: {mismatch}"))?;
            eval.check_value(&value).map_err(|mismatch| format!("{expr}: {mismatch}"))?;
            Ok(true)
        }
    }
}

/// Which evaluations of which scripts pass: what a suite may not lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ratchet {
    passing: BTreeSet<(String, usize)>,
}

/// What a run says against a ratchet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Evaluations, as (script, line), that passed before and do not now.
    pub lost: Vec<(String, usize)>,
    /// Evaluations, as (script, line), that pass now and did not before.
    pub gained: Vec<(String, usize)>,
}

impl Ratchet {
    /// Reads lines of `file:line`; a file that is not there has none.
    ///
    /// # Errors
    /// If the file cannot be read or a line is not of this form.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        let mut passing = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let parsed =
                line.split_once(':').and_then(|(file, line)| Some((file.to_owned(), line.parse().ok()?)));
            passing.insert(parsed.ok_or_else(|| format!("{}: not file:line: {line}", path.display()))?);
        }
        Ok(Self { passing })
    }

    /// Notes that an evaluation passes.
    pub fn note(&mut self, file: &str, line: usize) {
        self.passing.insert((file.to_owned(), line));
    }

    /// Number of evaluations that pass.
    #[must_use]
    pub fn len(&self) -> usize {
        self.passing.len()
    }

    /// True if no evaluation passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.passing.is_empty()
    }

    /// Compares what passes now with this ratchet.
    #[must_use]
    pub fn turn(&self, now: &Self) -> Turn {
        Turn {
            lost: self.passing.difference(&now.passing).cloned().collect(),
            gained: now.passing.difference(&self.passing).cloned().collect(),
        }
    }

    /// Writes the ratchet.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.to_string())
    }
}

impl fmt::Display for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.passing.iter().try_for_each(|(file, line)| writeln!(f, "{file}:{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratchet_names_what_was_lost_and_what_was_gained() {
        let mut before = Ratchet::default();
        before.note("a.test", 9);
        before.note("a.test", 10);
        let mut now = Ratchet::default();
        now.note("a.test", 10);
        now.note("b.test", 1);
        let turn = before.turn(&now);
        assert_eq!(turn.lost, [("a.test".to_owned(), 9)]);
        assert_eq!(turn.gained, [("b.test".to_owned(), 1)]);
        assert_eq!(before.to_string(), "a.test:9\na.test:10\n");
    }

    #[test]
    fn what_looks_at_a_histogram_does_not_pass_by_being_empty() {
        struct Nothing;
        impl Route for Nothing {
            fn clear(&mut self) -> Result<(), String> {
                Ok(())
            }
            fn load(&mut self, _: &[FloatSeries]) -> Result<(), String> {
                Ok(())
            }
            fn instant(&mut self, _: &str, _: i64) -> Result<(Value, Annotations), String> {
                Ok((Value::Vector(Vec::new()), Annotations::default()))
            }
            fn range(&mut self, _: &str, _: i64, _: i64, _: i64) -> Result<(Value, Annotations), String> {
                Ok((Value::Matrix(Vec::new()), Annotations::default()))
            }
        }
        let script = "load 1m\n  h {{schema:0 count:1 sum:1 buckets:[1]}}x3\n  f 1x3\n\neval instant at 0 h > 3\n\neval instant at 0 f > 3\n";
        let outcomes = run_script(script, &mut Nothing).unwrap();
        assert!(outcomes[0].result.is_err());
        assert_eq!(outcomes[1].result, Ok(()));
    }
}
