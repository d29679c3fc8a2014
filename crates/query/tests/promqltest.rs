//! Prometheus' PromQL scripts in process, with a ratchet: at several partitionings and batch sizes, and
//! wherever the samples lie. Nothing of that may change a result.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking, as tests do.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use promontory_model::TenantId;
use promontory_promql::engine::{Annotations, Engine, InstantQuery, RangeQuery, RequestContext, Value};
use promontory_query::{EngineSettings, QueryEngine};
use promontory_store::SampleSource;
use promontory_testkit::conformance::{
    BLESS_VARIABLE, EvalOutcome, FloatSeries, Ratchet, Route, folder, run_script, scripts,
};
use promontory_testkit::memory::MemorySource;
use promontory_testkit::stored::{Placement, StoredWorld};
use tokio::runtime::Runtime;

use self::support::runtime;

/// Straight to the engine over samples in memory.
struct InProcess {
    source: Arc<MemorySource>,
    asked: Asked,
}

impl InProcess {
    fn new(partitions_max: usize, batch_values: usize) -> Self {
        Self::with(settings(partitions_max, batch_values))
    }

    fn with(settings: EngineSettings) -> Self {
        let source = Arc::new(MemorySource::new());
        let asked = Asked::new(Arc::clone(&source) as _, runtime(), settings);
        Self { source, asked }
    }
}

/// An engine and whose questions it gets.
struct Asked {
    engine: QueryEngine,
    runtime: Runtime,
    context: RequestContext,
}

impl Asked {
    fn new(source: Arc<dyn SampleSource>, runtime: Runtime, settings: EngineSettings) -> Self {
        let engine = QueryEngine::new(source, settings, runtime.handle().clone()).unwrap();
        let context = RequestContext::new(TenantId::anonymous());
        Self { engine, runtime, context }
    }

    fn instant(&self, expr: &str, time: i64) -> Result<(Value, Annotations), String> {
        let query = InstantQuery { expr: expr.into(), time, lookback_delta: None };
        let answer = self.runtime.block_on(self.engine.instant(&self.context, &query));
        answer.map(|answer| (answer.value, answer.annotations)).map_err(|error| error.to_string())
    }

    fn range(&self, expr: &str, start: i64, end: i64, step: i64) -> Result<(Value, Annotations), String> {
        let query = RangeQuery { expr: expr.into(), start, end, step, lookback_delta: None };
        let answer = self.runtime.block_on(self.engine.range(&self.context, &query));
        answer.map(|answer| (answer.value, answer.annotations)).map_err(|error| error.to_string())
    }
}

/// Through a store: each block of data is a tenant of its own, so nothing has to be deleted.
struct Stored {
    world: StoredWorld,
    placement: Placement,
    asked: Asked,
    tenants: usize,
}

impl Stored {
    fn new(placement: Placement, partitions_max: usize, batch_values: usize) -> Self {
        let runtime = runtime();
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        let asked = Asked::new(world.source() as _, runtime, settings(partitions_max, batch_values));
        Self { world, placement, asked, tenants: 0 }
    }
}

impl Stored {
    fn tenant(&self) -> TenantId {
        TenantId::new(&format!("block-{}", self.tenants)).unwrap()
    }
}

impl Route for Stored {
    fn clear(&mut self) -> Result<(), String> {
        self.tenants += 1;
        self.asked.context = RequestContext::new(self.tenant());
        Ok(())
    }

    fn load(&mut self, series: &[FloatSeries]) -> Result<(), String> {
        let tenant = self.tenant();
        let loaded = self.world.load(&tenant, series, self.placement);
        self.asked.runtime.block_on(loaded).map_err(|error| error.to_string())
    }

    fn instant(&mut self, expr: &str, time: i64) -> Result<(Value, Annotations), String> {
        self.asked.instant(expr, time)
    }

    fn range(&mut self, expr: &str, start: i64, end: i64, step: i64) -> Result<(Value, Annotations), String> {
        self.asked.range(expr, start, end, step)
    }
}

/// As upstream's test engine, except that it also has native histograms, start timestamps and extended
/// range selectors.
fn settings(partitions_max: usize, batch_values: usize) -> EngineSettings {
    EngineSettings {
        partitions_max,
        batch_values,
        samples_max: 10_000,
        experimental_functions: true,
        duration_expressions: true,
        fill_modifiers: true,
        delayed_name_removal: true,
        ..EngineSettings::default()
    }
}

impl Route for InProcess {
    fn clear(&mut self) -> Result<(), String> {
        self.source.clear();
        Ok(())
    }

    fn load(&mut self, series: &[FloatSeries]) -> Result<(), String> {
        for (labels, samples) in series {
            self.source.add(labels.clone(), samples.iter().copied());
        }
        Ok(())
    }

    fn instant(&mut self, expr: &str, time: i64) -> Result<(Value, Annotations), String> {
        self.asked.instant(expr, time)
    }

    fn range(&mut self, expr: &str, start: i64, end: i64, step: i64) -> Result<(Value, Annotations), String> {
        self.asked.range(expr, start, end, step)
    }
}

fn run_all(route: &mut dyn Route, scripts: &BTreeMap<String, String>) -> BTreeMap<String, Vec<EvalOutcome>> {
    scripts.iter().map(|(file, text)| (file.clone(), run_script(text, route).unwrap())).collect()
}

fn ratchet_of(outcomes: &BTreeMap<String, Vec<EvalOutcome>>) -> Ratchet {
    let mut ratchet = Ratchet::default();
    for (file, outcomes) in outcomes {
        for outcome in outcomes.iter().filter(|outcome| outcome.result.is_ok()) {
            ratchet.note(file, outcome.line);
        }
    }
    ratchet
}

#[test]
#[allow(clippy::print_stderr)] // What passes is for people to read.
fn what_passes_of_prometheus_scripts_only_grows() {
    let scripts = match folder("promqltest") {
        Ok(folder) => scripts(&folder).unwrap(),
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let ratchet_path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/ratchets/promqltest.txt");
    let before = Ratchet::read(&ratchet_path).unwrap();

    let outcomes = run_all(&mut InProcess::new(1, 64 << 10), &scripts);
    let now = ratchet_of(&outcomes);
    for (file, outcomes) in &outcomes {
        let passing = outcomes.iter().filter(|outcome| outcome.result.is_ok()).count();
        eprintln!("{file}: {passing} of {}", outcomes.len());
        if std::env::var_os("PROMONTORY_SHOW_FAILURES").is_some() {
            for outcome in outcomes {
                if let Err(reason) = &outcome.result {
                    eprintln!("  {file}:{}: {reason}", outcome.line);
                }
            }
        }
    }
    let turn = before.turn(&now);
    eprintln!("{} pass, {} more than in the ratchet", now.len(), turn.gained.len());
    if std::env::var_os(BLESS_VARIABLE).is_some() {
        std::fs::create_dir_all(ratchet_path.parent().unwrap()).unwrap();
        now.write(&ratchet_path).unwrap();
    } else {
        assert!(turn.lost.is_empty(), "passed before and do not pass now: {:?}", turn.lost);
    }

    let same = |route: &mut dyn Route, setting: &str| {
        let turn = now.turn(&ratchet_of(&run_all(route, &scripts)));
        assert_eq!(turn.lost, [], "lost {setting}");
        assert_eq!(turn.gained, [], "gained {setting}");
    };
    for (partitions_max, batch_values) in [(1, 1), (3, 2)] {
        let setting = format!("with {partitions_max} partitions and batches of {batch_values} values");
        same(&mut InProcess::new(partitions_max, batch_values), &setting);
    }
    for placement in Placement::ALL {
        let (partitions_max, batch_values) = if placement == Placement::Mixed { (3, 2) } else { (2, 4_096) };
        same(
            &mut Stored::new(placement, partitions_max, batch_values),
            &format!("with samples {placement:?}"),
        );
    }
}

/// Evaluations of the scripts, which are those of 3.14, that Prometheus 3.16 answers otherwise;
/// `docs/promql-differences.md` says how.
const ANSWERED_OTHERWISE: [(&str, usize); 3] =
    [("fill-modifier.test", 185), ("fill-modifier.test", 191), ("type_and_unit.test", 265)];

#[test]
#[allow(clippy::print_stderr)] // Why nothing was compared is for people to read.
fn where_prometheus_3_16_differs_from_its_older_scripts_it_is_followed() {
    let script = include_str!("prometheus_3_16.test");
    for delayed_name_removal in [false, true] {
        let settings = EngineSettings { delayed_name_removal, ..settings(2, 64 << 10) };
        for outcome in run_script(script, &mut InProcess::with(settings)).unwrap() {
            let place = format!("line {}, delayed name removal {delayed_name_removal}", outcome.line);
            assert_eq!(outcome.result, Ok(()), "{place}");
        }
    }
    let scripts = match folder("promqltest") {
        Ok(folder) => scripts(&folder).unwrap(),
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    for (file, line) in ANSWERED_OTHERWISE {
        let outcomes = run_script(&scripts[file], &mut InProcess::new(1, 64 << 10)).unwrap();
        let outcome = outcomes.iter().find(|outcome| outcome.line == line).unwrap();
        assert!(outcome.result.is_err(), "{file}:{line} is answered as by 3.14");
    }
}
