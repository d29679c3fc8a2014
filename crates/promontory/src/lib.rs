//! A Prometheus-compatible time-series database whose only stateful part is an object store.
