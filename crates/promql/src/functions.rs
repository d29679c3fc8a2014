//! One identity per function and aggregation of PromQL: name, signature, properties, kernel.
//!
//! The parser looks a name up here, lowering matches on the kernel, operators take their names from the
//! rows. Nothing else lists functions.

#![allow(missing_docs)] // What a field or a variant does not say by its name is said beside it.

mod table;

use std::fmt;

use crate::kernels::BucketFunction;
use crate::kernels::Extreme;
use crate::kernels::SelectFunction;
use crate::kernels::{AggregateFunction, DateFunction, RangeFunction, UnaryFunction};
use crate::types::ValueType;

pub use self::table::{AGGREGATIONS, FUNCTIONS};

#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of `args` must be there.
    pub arity: Arity,
    pub returns: ValueType,
    /// How it is computed; no other function has the same.
    pub kernel: Kernel,
    /// What else must be known of it.
    pub properties: &'static [Property],
}

#[derive(Debug)]
pub struct Aggregation {
    pub name: &'static str,
    /// The type of its parameter, if it takes one.
    pub param: Option<ValueType>,
    /// How it is computed; no other aggregation has the same.
    pub kernel: AggregateKernel,
    /// What else must be known of it.
    pub properties: &'static [Property],
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// All of `args`, no more.
    Exact,
    /// `args` without the last one; the last type may come up to this many times.
    Optional(usize),
    /// `args` without the last one; the last type may come any number of times.
    LastRepeats,
}

/// What must be known of a function beside its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// Needs `promql-experimental-functions`.
    Experimental,
    /// Its result keeps the metric name, where others of its kind drop it.
    KeepsName,
    /// Means counters: a name unlike a counter's is worth a note.
    OfCounters,
    /// Depends on the evaluation time even if `@` fixes its arguments.
    ReadsTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// From the window of samples of each series.
    Range(RangeFunction),
    /// From each value.
    Unary(UnaryFunction),
    /// From each value as a time; without an argument from the evaluation time.
    Date(DateFunction),
    Round,
    /// `clamp` and its one-sided forms.
    Clamp(ClampBounds),
    /// From the buckets of classic histograms.
    Buckets(BucketFunction),
    /// Of `histogram_quantiles`: several quantiles at once.
    BucketQuantiles,
    /// From native histograms; floats give nothing.
    Native(NativeFunction),
    LabelReplace,
    LabelJoin,
    /// By value, NaN last.
    Sort(SortDirection),
    /// By labels in natural order.
    SortByLabel(SortDirection),
    Absent,
    Info,
    Timestamp,
    StartTimestamp,
    /// Makes a vector of a scalar.
    Vector,
    /// Makes a scalar of a vector.
    Scalar,
    Pi,
    /// The evaluation time.
    Time,
    /// From the times of the query.
    OfQuery(QueryTime),
    /// The larger or the smaller of two scalars.
    Extreme(Extreme),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateKernel {
    /// From a state of fixed size per group and step.
    Grid(AggregateFunction),
    /// From all values of a group.
    Quantile,
    /// By choosing series.
    Select(SelectFunction),
    /// By counting equal values.
    CountValues,
}

/// Which bounds a `clamp` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClampBounds {
    Both,
    Lower,
    Upper,
}

/// A property of a native histogram; its function is `histogram_` and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NativeFunction {
    Avg,
    Count,
    Sum,
    Stddev,
    Stdvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortDirection {
    Ascending,
    Descending,
}

/// A time of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueryTime {
    Start,
    End,
    /// From the first to the last.
    Range,
    Step,
}

impl Function {
    /// The function of this name; names are case-sensitive.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|index| &FUNCTIONS[index])
    }

    /// The function that `kernel` computes.
    #[must_use]
    pub fn of(kernel: Kernel) -> Option<&'static Self> {
        FUNCTIONS.iter().find(|function| function.kernel == kernel)
    }

    /// True if it has this property.
    #[must_use]
    pub fn has(&self, property: Property) -> bool {
        self.properties.contains(&property)
    }

    #[must_use]
    pub fn args_min(&self) -> usize {
        match self.arity {
            Arity::Exact => self.args.len(),
            Arity::Optional(_) | Arity::LastRepeats => self.args.len().saturating_sub(1),
        }
    }

    /// `None` if the last one may come any number of times.
    #[must_use]
    pub fn args_max(&self) -> Option<usize> {
        match self.arity {
            Arity::Exact => Some(self.args.len()),
            Arity::Optional(more) => Some(self.args_min() + more),
            Arity::LastRepeats => None,
        }
    }

    /// The type that argument `index` must have; the last one goes on for variadic functions.
    #[must_use]
    pub fn arg_type(&self, index: usize) -> Option<ValueType> {
        match self.arity {
            Arity::Exact => self.args.get(index).copied(),
            Arity::Optional(_) | Arity::LastRepeats => self.args.get(index).or(self.args.last()).copied(),
        }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.kernel == other.kernel
    }
}

impl Eq for Function {}

impl Aggregation {
    /// The aggregation of this name, in lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        AGGREGATIONS.iter().find(|aggregation| aggregation.name == name)
    }

    /// The aggregation that `kernel` computes.
    #[must_use]
    pub fn of(kernel: AggregateKernel) -> Option<&'static Self> {
        AGGREGATIONS.iter().find(|aggregation| aggregation.kernel == kernel)
    }

    /// True if it has this property.
    #[must_use]
    pub fn has(&self, property: Property) -> bool {
        self.properties.contains(&property)
    }
}

impl PartialEq for Aggregation {
    fn eq(&self, other: &Self) -> bool {
        self.kernel == other.kernel
    }
}

impl Eq for Aggregation {}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests;
