//! Clock, seeded faults, simulator, history checker, conformance suites, laws.
