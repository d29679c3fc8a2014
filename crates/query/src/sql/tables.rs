//! The two tables of SQL over one snapshot.
//!
//! ```text
//! samples: name text, labels map(text, text), ts timestamp(ms, UTC), value double
//! series:  name text, labels map(text, text)
//! ```
//!
//! - `name` is the metric name, NULL where a series has none; `labels` holds every other label, so
//!   that two metrics join on `labels`.
//! - `samples` has one row per sample, deduplicated as everywhere. Stale markers are no rows: they say
//!   that a series ended and hold no value. Any other NaN is a row.
//! - Neither table has an order: who wants one says `ORDER BY`.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use promontory_plan::LabelProjection;
use promontory_store::Selection;

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::operators::{ScanShape, SeriesScan};
use crate::sql::bounds::Bounds;
use crate::sql::columns::{LABELS, NAME, TS, VALUE, label_maps, labels_type, names, timestamp_type};
use crate::sql::rows::SampleRows;
use crate::view::RequestView;

/// Rows of one batch of the table `series`.
const SERIES_PER_BATCH: usize = 8_192;

/// What a listed series takes beside twice its key, in bytes, roughly.
const SERIES_BYTES: usize = 64;

/// What the tables of one statement stand on.
#[derive(Clone, Debug)]
pub struct TableScope {
    pub view: Arc<RequestView>,
    pub context: Arc<QueryContext>,
    pub partitions_max: usize,
    /// Samples that one batch of a scan should hold.
    pub batch_values: usize,
}

impl TableScope {
    async fn select(&self, filters: &[Expr]) -> Result<(Arc<str>, Arc<dyn Selection>)> {
        let bounds = Bounds::of(filters);
        let selection = self.view.select(&bounds.matchers, bounds.range).await;
        let shown: Vec<String> = bounds.matchers.iter().map(ToString::to_string).collect();
        Ok((format!("{{{}}}", shown.join(",")).into(), selection.map_err(QueryError::from)?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Samples,
    Series,
}

impl TableKind {
    pub const ALL: [Self; 2] = [Self::Samples, Self::Series];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Series => "series",
        }
    }

    pub fn schema(self) -> SchemaRef {
        let mut fields =
            vec![Field::new(NAME, DataType::Utf8View, true), Field::new(LABELS, labels_type(), false)];
        if self == Self::Samples {
            fields.push(Field::new(TS, timestamp_type(), false));
            fields.push(Field::new(VALUE, DataType::Float64, false));
        }
        Arc::new(Schema::new(fields))
    }
}

/// A table over one snapshot.
#[derive(Debug)]
pub struct SqlTable {
    kind: TableKind,
    scope: TableScope,
    schema: SchemaRef,
}

impl SqlTable {
    /// The table `kind` of a snapshot.
    #[must_use]
    pub fn new(kind: TableKind, scope: TableScope) -> Self {
        Self { kind, scope, schema: kind.schema() }
    }

    fn samples(
        &self,
        selector: Arc<str>,
        selection: Arc<dyn Selection>,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scope = &self.scope;
        let shape = ScanShape::new(scope.partitions_max, scope.batch_values, 1);
        let context = Arc::clone(&scope.context);
        let scan = SeriesScan::new(selector, selection, LabelProjection::All, shape, context);
        Ok(Arc::new(SampleRows::try_new(Arc::new(scan), &self.schema, projection)?))
    }

    fn series(
        &self,
        selection: &dyn Selection,
        projection: Option<&Vec<usize>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let series = selection.series();
        let bytes: usize = series.iter().map(|labels| 2 * labels.key().len() + SERIES_BYTES).sum();
        self.scope.context.kept().grow(bytes, "the table series")?;
        let mut batches = Vec::new();
        for part in series.chunks(SERIES_PER_BATCH) {
            self.scope.context.check()?;
            let labels = || part.iter().map(promontory_model::Labels::as_ref);
            let columns = vec![names(labels()), label_maps(labels())?];
            batches.push(RecordBatch::try_new(self.schema(), columns)?);
        }
        Ok(MemorySourceConfig::try_new_exec(&[batches], self.schema(), projection.cloned())?)
    }
}

#[async_trait]
impl TableProvider for SqlTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| pushdown(filter)).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (selector, selection) = self.scope.select(filters).await?;
        match self.kind {
            TableKind::Samples => self.samples(selector, selection, projection),
            TableKind::Series => self.series(&*selection, projection),
        }
    }
}

fn pushdown(filter: &Expr) -> TableProviderFilterPushDown {
    let mut bounds = Bounds::default();
    if bounds.add(filter) {
        TableProviderFilterPushDown::Exact
    } else if bounds == Bounds::default() {
        TableProviderFilterPushDown::Unsupported
    } else {
        TableProviderFilterPushDown::Inexact
    }
}
