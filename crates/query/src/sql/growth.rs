//! Functions whose output can be much larger than their input: their size is known before it is made.
//!
//! DataFusion's memory pool sees what operators keep, not what a function makes of a batch or of a constant, and
//! nested calls multiply: nine of `replace` made 3.9 GB of 252 bytes of text. So:
//!
//! 1. Every function of the registry is in one of the lists of [`lists`]: *plain* ones make at most a few times
//!    their input, and of nested ones no more; *growing* ones have a [`Growth`]; the rest is left out. What is in
//!    no list is left out, too, and a test names it, so that a new version of DataFusion brings nothing unseen.
//! 2. [`Bounded`] stands before each growing function, wherever it is called, be it by an operator (`||`) or by a
//!    rule of the planner: it computes the most that the function can make of its arguments and charges that to
//!    the request before it calls it. Constants are folded by the same calls, so that the planner is bounded, too.
//! 3. [`Guard`] is the last rule of analysis, and puts them there. It also refuses what cannot be bounded: wide
//!    types in casts, regular expressions that are no constants, aggregations that grow in windows.
//! 4. A constant beside rows is copied for each of them: [`copied_bytes`] says how many bytes a row of a plan
//!    copies, so that batches have fewer rows.
//! 5. A statement itself can grow while it is planned: [`check_inlined`].

mod sizes;
mod rule;
mod lists;
mod reachable;
mod checks;
mod concat;
mod bounded;
mod guard;
mod copied;
mod inlined;

pub use copied::{COPIED_BYTES_WISH, copied_bytes};
pub use guard::{Guard, InTime, NoStructs, keep_known};
pub use inlined::check_inlined;
pub use lists::{is_aggregate, is_window};
pub use reachable::sql_functions;

#[cfg(test)]
mod tests;
