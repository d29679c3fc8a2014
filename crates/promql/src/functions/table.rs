//! The rows: every function and every aggregation of PromQL, once.
//!
//! `name [argument types] arity -> type of the result, kernel [properties]`
//!
//! Source: `promql/parser/functions.go` and `lex.go`, prometheus v3.16; which functions read the time:
//! `AtModifierUnsafeFunctions`, `promql/functions.go`.

use super::{
    AggregateKernel, Aggregation, Arity, ClampBounds, Extreme, Function, Kernel, NativeFunction, Property,
    QueryTime, SortDirection,
};
use crate::kernels::BucketFunction;
use crate::kernels::{AggregateFunction, DateFunction, RangeFunction, UnaryFunction};
use crate::kernels::{Order, SelectFunction};
use crate::types::ValueType;

macro_rules! functions {
    ($(
        $name:literal [$($arg:ident),*] $arity:ident $(($more:literal))? -> $returns:ident,
        $kernel:ident $(($of:expr))? [$($property:ident),*];
    )*) => {
        /// All functions, sorted by name.
        pub static FUNCTIONS: &[Function] = &[$(Function {
            name: $name,
            args: &[$(ValueType::$arg),*],
            arity: Arity::$arity $(($more))?,
            returns: ValueType::$returns,
            kernel: Kernel::$kernel $(($of))?,
            properties: &[$(Property::$property),*],
        },)*];
    };
}

macro_rules! aggregations {
    ($($name:literal [$($param:ident)?] $kernel:ident $(($of:expr))? [$($property:ident),*];)*) => {
        /// All aggregations.
        pub static AGGREGATIONS: &[Aggregation] = &[$(Aggregation {
            name: $name,
            param: aggregations!(@param $($param)?),
            kernel: AggregateKernel::$kernel $(($of))?,
            properties: &[$(Property::$property),*],
        },)*];
    };
    (@param) => { None };
    (@param $param:ident) => { Some(ValueType::$param) };
}

#[rustfmt::skip] // One row per line.
functions! {
    "abs" [Vector] Exact -> Vector, Unary(UnaryFunction::Abs) [];
    "absent" [Vector] Exact -> Vector, Absent [];
    "absent_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::AbsentOverTime) [KeepsName];
    "acos" [Vector] Exact -> Vector, Unary(UnaryFunction::Acos) [];
    "acosh" [Vector] Exact -> Vector, Unary(UnaryFunction::Acosh) [];
    "asin" [Vector] Exact -> Vector, Unary(UnaryFunction::Asin) [];
    "asinh" [Vector] Exact -> Vector, Unary(UnaryFunction::Asinh) [];
    "atan" [Vector] Exact -> Vector, Unary(UnaryFunction::Atan) [];
    "atanh" [Vector] Exact -> Vector, Unary(UnaryFunction::Atanh) [];
    "avg_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::AvgOverTime) [];
    "ceil" [Vector] Exact -> Vector, Unary(UnaryFunction::Ceil) [];
    "changes" [Matrix] Exact -> Vector, Range(RangeFunction::Changes) [];
    "clamp" [Vector, Scalar, Scalar] Exact -> Vector, Clamp(ClampBounds::Both) [];
    "clamp_max" [Vector, Scalar] Exact -> Vector, Clamp(ClampBounds::Upper) [];
    "clamp_min" [Vector, Scalar] Exact -> Vector, Clamp(ClampBounds::Lower) [];
    "cos" [Vector] Exact -> Vector, Unary(UnaryFunction::Cos) [];
    "cosh" [Vector] Exact -> Vector, Unary(UnaryFunction::Cosh) [];
    "count_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::CountOverTime) [];
    "day_of_month" [Vector] Optional(1) -> Vector, Date(DateFunction::DayOfMonth) [ReadsTime];
    "day_of_week" [Vector] Optional(1) -> Vector, Date(DateFunction::DayOfWeek) [ReadsTime];
    "day_of_year" [Vector] Optional(1) -> Vector, Date(DateFunction::DayOfYear) [ReadsTime];
    "days_in_month" [Vector] Optional(1) -> Vector, Date(DateFunction::DaysInMonth) [ReadsTime];
    "deg" [Vector] Exact -> Vector, Unary(UnaryFunction::Deg) [];
    "delta" [Matrix] Exact -> Vector, Range(RangeFunction::Delta) [];
    "deriv" [Matrix] Exact -> Vector, Range(RangeFunction::Deriv) [];
    "double_exponential_smoothing" [Matrix, Scalar, Scalar] Exact -> Vector, Range(RangeFunction::DoubleExponentialSmoothing) [Experimental];
    "end" [] Exact -> Scalar, OfQuery(QueryTime::End) [Experimental, ReadsTime];
    "exp" [Vector] Exact -> Vector, Unary(UnaryFunction::Exp) [];
    "first_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::FirstOverTime) [KeepsName];
    "floor" [Vector] Exact -> Vector, Unary(UnaryFunction::Floor) [];
    "histogram_avg" [Vector] Exact -> Vector, Native(NativeFunction::Avg) [];
    "histogram_count" [Vector] Exact -> Vector, Native(NativeFunction::Count) [];
    "histogram_fraction" [Scalar, Scalar, Vector] Exact -> Vector, Buckets(BucketFunction::Fraction) [];
    "histogram_quantile" [Scalar, Vector] Exact -> Vector, Buckets(BucketFunction::Quantile) [];
    "histogram_quantiles" [Vector, String, Scalar, Scalar] Optional(9) -> Vector, BucketQuantiles [Experimental];
    "histogram_stddev" [Vector] Exact -> Vector, Native(NativeFunction::Stddev) [];
    "histogram_stdvar" [Vector] Exact -> Vector, Native(NativeFunction::Stdvar) [];
    "histogram_sum" [Vector] Exact -> Vector, Native(NativeFunction::Sum) [];
    "hour" [Vector] Optional(1) -> Vector, Date(DateFunction::Hour) [ReadsTime];
    "idelta" [Matrix] Exact -> Vector, Range(RangeFunction::Idelta) [];
    "increase" [Matrix] Exact -> Vector, Range(RangeFunction::Increase) [OfCounters];
    "info" [Vector, Vector] Optional(1) -> Vector, Info [Experimental];
    "irate" [Matrix] Exact -> Vector, Range(RangeFunction::Irate) [];
    "label_join" [Vector, String, String, String] LastRepeats -> Vector, LabelJoin [];
    "label_replace" [Vector, String, String, String, String] Exact -> Vector, LabelReplace [];
    "last_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::LastOverTime) [KeepsName];
    "ln" [Vector] Exact -> Vector, Unary(UnaryFunction::Ln) [];
    "log10" [Vector] Exact -> Vector, Unary(UnaryFunction::Log10) [];
    "log2" [Vector] Exact -> Vector, Unary(UnaryFunction::Log2) [];
    "mad_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::MadOverTime) [Experimental];
    "max_of" [Scalar, Scalar] Exact -> Scalar, Extreme(Extreme::Max) [Experimental];
    "max_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::MaxOverTime) [];
    "min_of" [Scalar, Scalar] Exact -> Scalar, Extreme(Extreme::Min) [Experimental];
    "min_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::MinOverTime) [];
    "minute" [Vector] Optional(1) -> Vector, Date(DateFunction::Minute) [ReadsTime];
    "month" [Vector] Optional(1) -> Vector, Date(DateFunction::Month) [ReadsTime];
    "pi" [] Exact -> Scalar, Pi [];
    "predict_linear" [Matrix, Scalar] Exact -> Vector, Range(RangeFunction::PredictLinear) [ReadsTime];
    "present_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::PresentOverTime) [];
    "quantile_over_time" [Scalar, Matrix] Exact -> Vector, Range(RangeFunction::QuantileOverTime) [];
    "rad" [Vector] Exact -> Vector, Unary(UnaryFunction::Rad) [];
    "range" [] Exact -> Scalar, OfQuery(QueryTime::Range) [Experimental, ReadsTime];
    "rate" [Matrix] Exact -> Vector, Range(RangeFunction::Rate) [OfCounters];
    "resets" [Matrix] Exact -> Vector, Range(RangeFunction::Resets) [];
    "round" [Vector, Scalar] Optional(1) -> Vector, Round [];
    "scalar" [Vector] Exact -> Scalar, Scalar [];
    "sgn" [Vector] Exact -> Vector, Unary(UnaryFunction::Sgn) [];
    "sin" [Vector] Exact -> Vector, Unary(UnaryFunction::Sin) [];
    "sinh" [Vector] Exact -> Vector, Unary(UnaryFunction::Sinh) [];
    "sort" [Vector] Exact -> Vector, Sort(SortDirection::Ascending) [];
    "sort_by_label" [Vector, String] LastRepeats -> Vector, SortByLabel(SortDirection::Ascending) [Experimental];
    "sort_by_label_desc" [Vector, String] LastRepeats -> Vector, SortByLabel(SortDirection::Descending) [Experimental];
    "sort_desc" [Vector] Exact -> Vector, Sort(SortDirection::Descending) [];
    "sqrt" [Vector] Exact -> Vector, Unary(UnaryFunction::Sqrt) [];
    "start" [] Exact -> Scalar, OfQuery(QueryTime::Start) [Experimental, ReadsTime];
    "start_timestamp" [Vector] Exact -> Vector, StartTimestamp [Experimental];
    "stddev_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::StddevOverTime) [];
    "stdvar_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::StdvarOverTime) [];
    "step" [] Exact -> Scalar, OfQuery(QueryTime::Step) [Experimental, ReadsTime];
    "sum_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::SumOverTime) [];
    "tan" [Vector] Exact -> Vector, Unary(UnaryFunction::Tan) [];
    "tanh" [Vector] Exact -> Vector, Unary(UnaryFunction::Tanh) [];
    "time" [] Exact -> Scalar, Time [ReadsTime];
    "timestamp" [Vector] Exact -> Vector, Timestamp [ReadsTime];
    "ts_of_first_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::TsOfFirstOverTime) [Experimental];
    "ts_of_last_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::TsOfLastOverTime) [Experimental];
    "ts_of_max_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::TsOfMaxOverTime) [Experimental];
    "ts_of_min_over_time" [Matrix] Exact -> Vector, Range(RangeFunction::TsOfMinOverTime) [Experimental];
    "vector" [Scalar] Exact -> Vector, Vector [];
    "year" [Vector] Optional(1) -> Vector, Date(DateFunction::Year) [ReadsTime];
}

#[rustfmt::skip] // One row per line.
aggregations! {
    "sum" [] Grid(AggregateFunction::Sum) [];
    "avg" [] Grid(AggregateFunction::Avg) [];
    "count" [] Grid(AggregateFunction::Count) [];
    "min" [] Grid(AggregateFunction::Min) [];
    "max" [] Grid(AggregateFunction::Max) [];
    "group" [] Grid(AggregateFunction::Group) [];
    "stddev" [] Grid(AggregateFunction::Stddev) [];
    "stdvar" [] Grid(AggregateFunction::Stdvar) [];
    "topk" [Scalar] Select(SelectFunction::Top(Order::Largest)) [];
    "bottomk" [Scalar] Select(SelectFunction::Top(Order::Smallest)) [];
    "count_values" [String] CountValues [];
    "quantile" [Scalar] Quantile [];
    "limitk" [Scalar] Select(SelectFunction::Limit) [Experimental];
    "limit_ratio" [Scalar] Select(SelectFunction::LimitRatio) [Experimental];
}
