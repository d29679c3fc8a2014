//! PromQL as DataFusion plans over a snapshot.
