//! The simulator: the protocol's state machines on a seeded, single-threaded runtime with paused
//! time, over a store that lies.
//!
//! In reading order: [`random`] and [`clock`] (everything out of one seed), [`process`] (tasks that
//! die and freeze together), [`store`] (the faulty bucket), [`history`] (what was promised against
//! what is seen), [`scenario`] (what a seed means), `actors` (who takes part), [`run`] (one seed from
//! beginning to rest), [`campaign`] (many seeds).

mod actors;
pub mod campaign;
pub mod clock;
pub mod history;
pub mod process;
pub mod random;
pub mod run;
pub mod scenario;
mod stage;
pub mod store;
