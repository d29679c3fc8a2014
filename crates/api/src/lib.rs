//! Prometheus' HTTP faces over the doors Append and Engine.
