//! Our own operators: the leaf that reads series, and the matching of two vectors.

mod scan;
mod vector_match;

pub(crate) use scan::{ScanShape, SeriesScan};
pub(crate) use vector_match::VectorMatch;
