//! The binary's parts: configuration raw to checked, wiring, telemetry, shutdown, commands.
//!
//! It decides nothing about samples or queries: it opens the store, starts the roles and hands each
//! what it needs.
//!
//! In reading order: `config`, `commands` (serving first), `store`, `roles` and the supervision of
//! their `tasks`, `faces` and the `server` that carries them, `signals`, `environment`, `metrics`,
//! `telemetry`.

mod commands;
mod config;
mod environment;
mod faces;
mod metrics;
mod roles;
mod server;
mod signals;
mod store;
mod tasks;
mod telemetry;

pub use commands::run;
pub use config::{Command, CommandLine};
