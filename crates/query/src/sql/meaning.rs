//! What SQL means where the library means something else: one order of floats, integers that never wrap, one rule
//! for times.
//!
//! - **Floats** have PostgreSQL's and DuckDB's order: all NaN are equal, whatever their sign and payload, and above
//!   `+Inf`; `-0.0` equals `0.0`. The library orders by bits in most places and not at all in others. So whatever is
//!   compared, sorted, grouped, joined or made distinct goes through [`comparable`], after which the order of the
//!   bits is the order of the values. `min` and `max` compare keys of that order, sliding windows take nothing away
//!   from sums: [`exact`].
//! - **Maps** are equal if they have the same entries, in whatever order they were written: `comparable` sorts them.
//! - **Integers** fail where they would wrap: [`arithmetic`]; a sum of integers is made in 128 bits.
//! - **Times** are whole microseconds at their finest, since nanoseconds hold 1677 to 2262 only. Samples may lie
//!   292 million years away: those are shown, compared and sorted like others, and are NULL for what computes with
//!   times ([`times`]), so that one odd row never fails a scan.
//!
//! - **Orders** are of columns: [`keys`] puts what is sorted by into a projection, because the library refuses orders
//!   of expressions that it cannot reason about.
//!
//! All of this is one rule of analysis, [`Meaning`]: it runs once types are known and before any optimization, so
//! that constants have the same meaning as rows.

mod comparable;
mod arithmetic;
mod calendar;
mod bins;
mod times;
mod rounded;
mod recipe;
mod sliding;
mod exact;
mod named_cast;
mod percentile;
mod expressions;
mod keys;
mod nodes;

pub use calendar::{iso_date, iso_time};
pub use exact::exact_aggregates;
pub use named_cast::{NAMED_CAST, named_cast};
pub use nodes::{Meaning, Orders};
pub use times::{SATURATED, SqlTimes, at_time_zone, of_all_times};

/// Functions that stand for a meaning; nobody calls them by name.
pub const INTERNAL: &[&str] = &[
    "comparable",
    "one_nan",
    "within",
    SATURATED,
    "+",
    "-",
    "*",
    "/",
    "%",
    "rounded",
    "as_text",
    NAMED_CAST,
];
