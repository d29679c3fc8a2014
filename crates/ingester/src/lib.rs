//! The ingester role: makes acknowledged samples durable and cuts L1 blocks.
