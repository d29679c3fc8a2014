//! Which blocks and writers exist, version by version.
//!
//! Nothing here knows how a block is written or read.

pub(crate) mod bytes;
pub(crate) mod chain;
pub(crate) mod epochs;
pub(crate) mod founding;
pub(crate) mod state;
