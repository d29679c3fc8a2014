//! What keeps a bucket small and whole: adoption, merges, sweeps, the check, repair.

pub(crate) mod adopter;
pub(crate) mod compaction;
pub(crate) mod fsck;
pub(crate) mod merger;
pub(crate) mod repair;
pub(crate) mod sweeper;
