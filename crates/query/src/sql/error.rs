//! What went wrong with a statement, as one plain sentence, and whose fault it is.
//!
//! The kind of an error decides, never its words: what data or constants cannot bear (a division by zero, a number out
//! of range, a text that is no time) is the statement's fault, and so is what cannot be planned. Only what breaks a
//! promise inside of the library is ours.

use std::error::Error as StdError;

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use promontory_promql::engine::EngineError;

use crate::error::{QueryError, to_engine_error};
use crate::sql::NESTING_MAX;
use crate::sql::columns::{LABELS, NAME};
use crate::sql::types::with_sql_types;

/// Longest text of an error; the library lists every candidate.
const TEXT_BYTES_MAX: usize = 500;

/// The door's error for a statement that could not be planned. Where the library stumbles over one, another statement
/// that says the same may do: it is refused, and the log has what only we can mend.
pub fn planning_error(error: DataFusionError) -> EngineError {
    if let DataFusionError::Internal(text) = error.find_root() {
        tracing::error!(error = %text, "a statement cannot be planned");
        return EngineError::Invalid(format!("this statement cannot be planned here: {}", plain(&error)));
    }
    match sql_error(error) {
        EngineError::Unanswerable(text) => EngineError::Invalid(text),
        other => other,
    }
}

/// The door's error for a statement that failed while it ran.
pub fn sql_error(error: DataFusionError) -> EngineError {
    if is_users(error.find_root()) && !is_ours(&error) {
        return EngineError::Unanswerable(plain(&error));
    }
    to_engine_error(error)
}

/// True if an error of this module's own lies within.
fn is_ours(error: &DataFusionError) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>()
            && inner.is::<QueryError>()
        {
            return true;
        }
        if current.is::<QueryError>() {
            return true;
        }
        source = current.source();
    }
    false
}

/// True if whoever wrote the statement can mend it.
fn is_users(root: &DataFusionError) -> bool {
    match root {
        DataFusionError::ArrowError(inner, _) => is_of_values(inner),
        DataFusionError::SQL(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Plan(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::Execution(_)
        // Libraries behind functions: a regular expression that is none.
        | DataFusionError::External(_) => true,
        DataFusionError::Collection(all) => all.iter().all(is_users),
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => is_users(inner),
        _ => false,
    }
}

/// True if values or their types are what an operation could not bear.
fn is_of_values(error: &ArrowError) -> bool {
    matches!(
        error,
        ArrowError::NotYetImplemented(_)
            | ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
            | ArrowError::InvalidArgumentError(_)
            | ArrowError::ExternalError(_)
            | ArrowError::OffsetOverflowError(_)
    )
}

/// Why a text is no statement.
pub fn syntax(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::SQL(parser, _) if matches!(**parser, ParserError::RecursionLimitExceeded) => {
            format!("the statement nests deeper than {NESTING_MAX} levels")
        }
        _ => plain(error),
    }
}

/// The cause of an error in one line: around it stand names of the library's rules, behind it hints for
/// people who compiled it.
pub fn plain(error: &DataFusionError) -> String {
    let root = error.find_root();
    if let DataFusionError::SchemaError(inner, _) = root
        && let SchemaError::FieldNotFound { field, valid_fields } = &**inner
    {
        return no_column(field, valid_fields);
    }
    let text = root.strip_backtrace();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" ");
    // Behind these stand what each of the function's signatures wants, and a wish of the library's authors.
    let text = text.split_once(", errors: ").map_or(text.as_str(), |(what, _)| what);
    let text = text.split_once(" This issue was likely caused by").map_or(text, |(what, _)| what);
    let text = with_sql_types(without_labels(text));
    match text.char_indices().find(|(at, _)| *at >= TEXT_BYTES_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// Without the library's words for where an error comes from.
fn without_labels(text: &str) -> &str {
    const LABELS: [&str; 13] = [
        "Arrow error: ",
        "Cast error: ",
        "Compute error: ",
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Internal error: ",
        "Invalid argument error: ",
        "Invalid or Unsupported Configuration: ",
        "Not yet implemented: ",
        "Parser error: ",
        "SQL error: ",
        "Schema error: ",
    ];
    let mut text = text;
    while let Some(rest) = LABELS.iter().find_map(|label| text.strip_prefix(label)) {
        text = rest;
    }
    text
}

/// What is said of a column that is not there: most often it is a label.
fn no_column(field: &Column, valid: &[Column]) -> String {
    let has = |name: &str| valid.iter().any(|column| column.name == name);
    let known: Vec<String> = valid.iter().map(|column| column.name.clone()).collect();
    let shown = field.flat_name();
    if has(LABELS) && has(NAME) {
        let label = field.name.replace('\'', "''");
        return format!("there is no column {shown}; if it is a label, write labels['{label}']");
    }
    if known.is_empty() {
        return format!("there is no column {shown}; a text is written in single quotes: '{}'", field.name);
    }
    format!("there is no column {shown}, but there are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_says_whose_fault_it_is() {
        let arrow = |error| DataFusionError::ArrowError(Box::new(error), None);
        for (error, text) in [
            (arrow(ArrowError::DivideByZero), "Divide by zero error"),
            (arrow(ArrowError::CastError("no Int64".into())), "no BIGINT"),
            (DataFusionError::Execution("no".into()), "no"),
            (arrow(ArrowError::ComputeError("Execution error: no root\n  of -1".into())), "no root of -1"),
            (DataFusionError::External("regex".into()).context("around"), "regex"),
        ] {
            match sql_error(error) {
                EngineError::Unanswerable(why) => assert_eq!(why, text),
                other => panic!("{text}: {other:?}"),
            }
        }
        let ours = [
            arrow(ArrowError::SchemaError("no".into())),
            arrow(ArrowError::MemoryError("no".into())),
            DataFusionError::Internal("no".into()),
        ];
        for error in ours {
            assert!(matches!(sql_error(error), EngineError::Bug(_)));
        }
        let limited = DataFusionError::from(QueryError::Limited("much".into())).context("around");
        assert!(matches!(sql_error(limited), EngineError::Limited(_)));
    }
}
