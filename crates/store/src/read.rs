//! Samples on their way out: snapshots, and the blocks and logs below them.

pub(crate) mod block_parts;
pub(crate) mod blocks;
mod cache;
pub(crate) mod reader;
mod select;
pub(crate) mod slot_log;
pub(crate) mod source;
mod standstill;
pub(crate) mod stored_source;
pub(crate) mod whole_blocks;
