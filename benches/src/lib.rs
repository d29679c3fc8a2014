//! Benchmarks beside the peers, run on demand.
