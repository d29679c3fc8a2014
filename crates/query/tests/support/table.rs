//! The answer to a statement as text, for suites that compare it.

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

/// A line for each row, cells by `|`, without names and frame.
pub(crate) fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let shown = pretty_format_batches(batches).unwrap().to_string();
    let rows = shown.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.join("|")
    };
    rows.map(cells).collect()
}
