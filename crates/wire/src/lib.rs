//! Bytes that others define: remote write, and later the other wire protocols.
