//! The compactor role: adopts dead writers and sweeps.
