//! Samples on their way into the store: the writer of this process, and what it has not yet flushed.

pub(crate) mod head;
pub(crate) mod life;
pub(crate) mod shared_head;
pub(crate) mod upload;
pub(crate) mod writer;
