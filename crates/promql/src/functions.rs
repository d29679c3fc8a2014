//! The function table and the aggregation table of PromQL.
//!
//! Source: `promql/parser/functions.go` and `lex.go`, prometheus v3.16.

use std::fmt;

use crate::types::ValueType;

/// A function of PromQL: what it takes and what it answers.
#[derive(Debug)]
pub struct Function {
    /// Which one, for `match`.
    pub id: FunctionId,
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [ValueType],
    /// How many of `args` must be there.
    pub arity: Arity,
    /// What it answers.
    pub returns: ValueType,
    /// Whether it needs `promql-experimental-functions`.
    pub stability: Stability,
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

/// Whether a function or aggregation is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// On by default.
    Stable,
    /// Behind `promql-experimental-functions`.
    Experimental,
}

impl Function {
    /// The function of this name; names are case-sensitive.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|index| &FUNCTIONS[index])
    }

    /// True if it needs `promql-experimental-functions`.
    #[must_use]
    pub fn is_experimental(&self) -> bool {
        self.stability == Stability::Experimental
    }

    /// Fewest arguments.
    #[must_use]
    pub fn args_min(&self) -> usize {
        match self.arity {
            Arity::Exact => self.args.len(),
            Arity::Optional(_) | Arity::LastRepeats => self.args.len().saturating_sub(1),
        }
    }

    /// Most arguments, if there is a most.
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
        self.id == other.id
    }
}

impl Eq for Function {}

macro_rules! functions {
    ($($id:ident $name:literal [$($arg:ident),*] $arity:expr, $returns:ident $stability:ident;)*) => {
        /// Names a function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum FunctionId {
            $(#[doc = concat!("`", $name, "`")] $id,)*
        }

        /// All functions, sorted by name.
        pub static FUNCTIONS: &[Function] = &[$(Function {
            id: FunctionId::$id,
            name: $name,
            args: &[$(ValueType::$arg),*],
            arity: $arity,
            returns: ValueType::$returns,
            stability: Stability::$stability,
        },)*];
    };
}

functions! {
    Abs "abs" [Vector] Arity::Exact, Vector Stable;
    Absent "absent" [Vector] Arity::Exact, Vector Stable;
    AbsentOverTime "absent_over_time" [Matrix] Arity::Exact, Vector Stable;
    Acos "acos" [Vector] Arity::Exact, Vector Stable;
    Acosh "acosh" [Vector] Arity::Exact, Vector Stable;
    Asin "asin" [Vector] Arity::Exact, Vector Stable;
    Asinh "asinh" [Vector] Arity::Exact, Vector Stable;
    Atan "atan" [Vector] Arity::Exact, Vector Stable;
    Atanh "atanh" [Vector] Arity::Exact, Vector Stable;
    AvgOverTime "avg_over_time" [Matrix] Arity::Exact, Vector Stable;
    Ceil "ceil" [Vector] Arity::Exact, Vector Stable;
    Changes "changes" [Matrix] Arity::Exact, Vector Stable;
    Clamp "clamp" [Vector, Scalar, Scalar] Arity::Exact, Vector Stable;
    ClampMax "clamp_max" [Vector, Scalar] Arity::Exact, Vector Stable;
    ClampMin "clamp_min" [Vector, Scalar] Arity::Exact, Vector Stable;
    Cos "cos" [Vector] Arity::Exact, Vector Stable;
    Cosh "cosh" [Vector] Arity::Exact, Vector Stable;
    CountOverTime "count_over_time" [Matrix] Arity::Exact, Vector Stable;
    DayOfMonth "day_of_month" [Vector] Arity::Optional(1), Vector Stable;
    DayOfWeek "day_of_week" [Vector] Arity::Optional(1), Vector Stable;
    DayOfYear "day_of_year" [Vector] Arity::Optional(1), Vector Stable;
    DaysInMonth "days_in_month" [Vector] Arity::Optional(1), Vector Stable;
    Deg "deg" [Vector] Arity::Exact, Vector Stable;
    Delta "delta" [Matrix] Arity::Exact, Vector Stable;
    Deriv "deriv" [Matrix] Arity::Exact, Vector Stable;
    DoubleExponentialSmoothing "double_exponential_smoothing" [Matrix, Scalar, Scalar] Arity::Exact, Vector Experimental;
    End "end" [] Arity::Exact, Scalar Experimental;
    Exp "exp" [Vector] Arity::Exact, Vector Stable;
    FirstOverTime "first_over_time" [Matrix] Arity::Exact, Vector Stable;
    Floor "floor" [Vector] Arity::Exact, Vector Stable;
    HistogramAvg "histogram_avg" [Vector] Arity::Exact, Vector Stable;
    HistogramCount "histogram_count" [Vector] Arity::Exact, Vector Stable;
    HistogramFraction "histogram_fraction" [Scalar, Scalar, Vector] Arity::Exact, Vector Stable;
    HistogramQuantile "histogram_quantile" [Scalar, Vector] Arity::Exact, Vector Stable;
    HistogramQuantiles "histogram_quantiles" [Vector, String, Scalar, Scalar] Arity::Optional(9), Vector Experimental;
    HistogramStddev "histogram_stddev" [Vector] Arity::Exact, Vector Stable;
    HistogramStdvar "histogram_stdvar" [Vector] Arity::Exact, Vector Stable;
    HistogramSum "histogram_sum" [Vector] Arity::Exact, Vector Stable;
    Hour "hour" [Vector] Arity::Optional(1), Vector Stable;
    Idelta "idelta" [Matrix] Arity::Exact, Vector Stable;
    Increase "increase" [Matrix] Arity::Exact, Vector Stable;
    Info "info" [Vector, Vector] Arity::Optional(1), Vector Experimental;
    Irate "irate" [Matrix] Arity::Exact, Vector Stable;
    LabelJoin "label_join" [Vector, String, String, String] Arity::LastRepeats, Vector Stable;
    LabelReplace "label_replace" [Vector, String, String, String, String] Arity::Exact, Vector Stable;
    LastOverTime "last_over_time" [Matrix] Arity::Exact, Vector Stable;
    Ln "ln" [Vector] Arity::Exact, Vector Stable;
    Log10 "log10" [Vector] Arity::Exact, Vector Stable;
    Log2 "log2" [Vector] Arity::Exact, Vector Stable;
    MadOverTime "mad_over_time" [Matrix] Arity::Exact, Vector Experimental;
    MaxOf "max_of" [Scalar, Scalar] Arity::Exact, Scalar Experimental;
    MaxOverTime "max_over_time" [Matrix] Arity::Exact, Vector Stable;
    MinOf "min_of" [Scalar, Scalar] Arity::Exact, Scalar Experimental;
    MinOverTime "min_over_time" [Matrix] Arity::Exact, Vector Stable;
    Minute "minute" [Vector] Arity::Optional(1), Vector Stable;
    Month "month" [Vector] Arity::Optional(1), Vector Stable;
    Pi "pi" [] Arity::Exact, Scalar Stable;
    PredictLinear "predict_linear" [Matrix, Scalar] Arity::Exact, Vector Stable;
    PresentOverTime "present_over_time" [Matrix] Arity::Exact, Vector Stable;
    QuantileOverTime "quantile_over_time" [Scalar, Matrix] Arity::Exact, Vector Stable;
    Rad "rad" [Vector] Arity::Exact, Vector Stable;
    Range "range" [] Arity::Exact, Scalar Experimental;
    Rate "rate" [Matrix] Arity::Exact, Vector Stable;
    Resets "resets" [Matrix] Arity::Exact, Vector Stable;
    Round "round" [Vector, Scalar] Arity::Optional(1), Vector Stable;
    Scalar "scalar" [Vector] Arity::Exact, Scalar Stable;
    Sgn "sgn" [Vector] Arity::Exact, Vector Stable;
    Sin "sin" [Vector] Arity::Exact, Vector Stable;
    Sinh "sinh" [Vector] Arity::Exact, Vector Stable;
    Sort "sort" [Vector] Arity::Exact, Vector Stable;
    SortByLabel "sort_by_label" [Vector, String] Arity::LastRepeats, Vector Experimental;
    SortByLabelDesc "sort_by_label_desc" [Vector, String] Arity::LastRepeats, Vector Experimental;
    SortDesc "sort_desc" [Vector] Arity::Exact, Vector Stable;
    Sqrt "sqrt" [Vector] Arity::Exact, Vector Stable;
    Start "start" [] Arity::Exact, Scalar Experimental;
    StartTimestamp "start_timestamp" [Vector] Arity::Exact, Vector Experimental;
    StddevOverTime "stddev_over_time" [Matrix] Arity::Exact, Vector Stable;
    StdvarOverTime "stdvar_over_time" [Matrix] Arity::Exact, Vector Stable;
    Step "step" [] Arity::Exact, Scalar Experimental;
    SumOverTime "sum_over_time" [Matrix] Arity::Exact, Vector Stable;
    Tan "tan" [Vector] Arity::Exact, Vector Stable;
    Tanh "tanh" [Vector] Arity::Exact, Vector Stable;
    Time "time" [] Arity::Exact, Scalar Stable;
    Timestamp "timestamp" [Vector] Arity::Exact, Vector Stable;
    TsOfFirstOverTime "ts_of_first_over_time" [Matrix] Arity::Exact, Vector Experimental;
    TsOfLastOverTime "ts_of_last_over_time" [Matrix] Arity::Exact, Vector Experimental;
    TsOfMaxOverTime "ts_of_max_over_time" [Matrix] Arity::Exact, Vector Experimental;
    TsOfMinOverTime "ts_of_min_over_time" [Matrix] Arity::Exact, Vector Experimental;
    Vector "vector" [Scalar] Arity::Exact, Vector Stable;
    Year "year" [Vector] Arity::Optional(1), Vector Stable;
}

impl FunctionId {
    /// The entry of the table.
    #[must_use]
    pub fn function(self) -> &'static Function {
        &FUNCTIONS[self as usize]
    }
}

/// An aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AggregateOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `count`
    Count,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `group`
    Group,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `bottomk`
    Bottomk,
    /// `count_values`
    CountValues,
    /// `quantile`
    Quantile,
    /// `limitk`
    Limitk,
    /// `limit_ratio`
    LimitRatio,
}

/// All aggregations.
pub static AGGREGATIONS: &[AggregateOp] = &[
    AggregateOp::Sum,
    AggregateOp::Avg,
    AggregateOp::Count,
    AggregateOp::Min,
    AggregateOp::Max,
    AggregateOp::Group,
    AggregateOp::Stddev,
    AggregateOp::Stdvar,
    AggregateOp::Topk,
    AggregateOp::Bottomk,
    AggregateOp::CountValues,
    AggregateOp::Quantile,
    AggregateOp::Limitk,
    AggregateOp::LimitRatio,
];

impl AggregateOp {
    /// The name as Prometheus prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter; `None` if it takes none.
    #[must_use]
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// True if it needs `promql-experimental-functions`.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
