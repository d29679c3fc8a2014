//! Clock, seeded faults, simulator, history checker, conformance suites, laws.
//!
//! No release build contains this crate. It knows the protocol only through the state machines of
//! `promontory_store`, which it drives as the roles do.
//!
//! In reading order: [`laws`] (crate edges, circles, doors, sizes), [`sim`] (the simulator and its
//! parts), [`conformance`], [`memory`] and [`stored`] (PromQL scripts against any route to the engine).

pub mod conformance;
pub mod laws;
pub mod memory;
pub mod sim;
pub mod stored;
