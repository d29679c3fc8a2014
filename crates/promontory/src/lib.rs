//! The binary's parts: configuration raw to checked, wiring, telemetry, shutdown, commands.
//!
//! It decides nothing about samples or queries: it opens the store, starts the roles and hands each
//! what it needs.
//!
//! In reading order: [`config`], [`serve`], [`server`], [`environment`], [`telemetry`], [`metrics`],
//! [`exports`], [`commands`].

pub mod commands;
pub mod config;
pub mod environment;
pub mod exports;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod telemetry;
