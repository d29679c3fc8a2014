//! The columns that an aggregation reads, and the parameters that it holds.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use promontory_promql::kernels::Param;

/// The columns of an aggregation: the planner writes them as expressions, the accumulator reads them as
/// arrays. Nobody else counts positions.
pub(crate) struct GroupCall<C> {
    /// The labels of each row, for aggregations that read them.
    pub(crate) labels: Option<C>,
    pub(crate) values: C,
    /// The parameters that planning did not know; each holds the same grid in every row.
    pub(crate) unknown: Vec<C>,
}

/// Which columns an aggregation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Values,
    LabelsAndValues,
}

impl<C> GroupCall<C> {
    /// The columns in order.
    pub(crate) fn write(self) -> Vec<C> {
        self.labels.into_iter().chain([self.values]).chain(self.unknown).collect()
    }
}

impl<'a, C> GroupCall<&'a C> {
    /// From the columns in order.
    pub(super) fn read(reads: Reads, columns: &'a [C]) -> Result<Self> {
        let mut columns = columns.iter();
        let labels = if reads == Reads::LabelsAndValues { columns.next() } else { None };
        let Some(values) = columns.next() else { return internal_err!("an aggregation without values") };
        Ok(Self { labels, values, unknown: columns.collect() })
    }
}

/// A parameter of an aggregation: one number, or one per step, if planning knows it; otherwise a column
/// brings it. Equal by bits, so that NaN is equal to itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownParam(pub(crate) Option<Arc<[f64]>>);

impl KnownParam {
    pub(super) fn param(&self) -> Param<'_> {
        match self.0.as_deref() {
            None | Some([]) => Param::Constant(f64::NAN),
            Some([value]) => Param::Constant(*value),
            Some(values) => Param::PerStep(values),
        }
    }

    fn bits(&self) -> Option<impl Iterator<Item = u64>> {
        self.0.as_ref().map(|values| values.iter().map(|value| value.to_bits()))
    }
}

impl PartialEq for KnownParam {
    fn eq(&self, other: &Self) -> bool {
        match (self.bits(), other.bits()) {
            (Some(mine), Some(theirs)) => mine.eq(theirs),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for KnownParam {}

impl Hash for KnownParam {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.is_some().hash(state);
        for bits in self.bits().into_iter().flatten() {
            bits.hash(state);
        }
    }
}
