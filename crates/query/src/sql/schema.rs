//! `SHOW TABLES`, `DESCRIBE`, `SHOW COLUMNS` and the two tables of `information_schema` behind them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::common::Result;

use crate::sql::tables::TableKind;
use crate::sql::types::sql_type;
use crate::sql::{CATALOG, SCHEMA};

/// Where the lists of tables and columns lie.
pub const INFORMATION_SCHEMA: &str = "information_schema";

/// `information_schema`: `tables` and `columns`.
///
/// # Errors
/// If a batch cannot be made, which is a bug.
pub fn information_schema() -> Result<Arc<MemorySchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    for (name, batch) in [("tables", tables()?), ("columns", columns()?)] {
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        schema.register_table(name.into(), Arc::new(table))?;
    }
    Ok(Arc::new(schema))
}

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn tables() -> Result<RecordBatch> {
    let names = TableKind::ALL.map(TableKind::name);
    let of_all = |text| texts(names.map(|_| text));
    Ok(RecordBatch::try_from_iter([
        ("table_catalog", of_all(CATALOG)),
        ("table_schema", of_all(SCHEMA)),
        ("table_name", texts(names)),
        ("table_type", of_all("BASE TABLE")),
    ])?)
}

fn columns() -> Result<RecordBatch> {
    let of_table = |kind: TableKind| {
        let fields = kind.schema().fields().to_vec();
        fields.into_iter().enumerate().map(move |(place, field)| (kind.name(), place as i64 + 1, field))
    };
    let all: Vec<(&str, i64, Arc<Field>)> = TableKind::ALL.into_iter().flat_map(of_table).collect();
    let types: Vec<String> = all.iter().map(|(_, _, field)| sql_type(field.data_type())).collect();
    Ok(RecordBatch::try_from_iter([
        ("table_catalog", texts(all.iter().map(|_| CATALOG))),
        ("table_schema", texts(all.iter().map(|_| SCHEMA))),
        ("table_name", texts(all.iter().map(|(table, _, _)| *table))),
        ("column_name", texts(all.iter().map(|(_, _, field)| field.name().as_str()))),
        ("ordinal_position", Arc::new(Int64Array::from_iter_values(all.iter().map(|(_, place, _)| *place)))),
        ("data_type", texts(types.iter().map(String::as_str))),
        (
            "is_nullable",
            texts(all.iter().map(|(_, _, field)| if field.is_nullable() { "YES" } else { "NO" })),
        ),
    ])?)
}

/// The query that lists tables.
pub const LIST_TABLES: &str = "SELECT table_name AS name FROM information_schema.tables ORDER BY table_name";

/// The query that lists the columns of a table.
pub fn list_columns(table: &str) -> String {
    format!(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = '{table}' \
         ORDER BY ordinal_position"
    )
}

/// What `DESCRIBE SELECT ...` answers.
///
/// # Errors
/// If a batch cannot be made, which is a bug.
pub fn described(schema: &SchemaRef) -> Result<RecordBatch> {
    let nullable = |field: &Arc<Field>| if field.is_nullable() { "YES" } else { "NO" };
    let types: Vec<String> = schema.fields().iter().map(|field| sql_type(field.data_type())).collect();
    let column = |name: &str| Field::new(name, DataType::Utf8, false);
    let of = Schema::new(vec![column("column_name"), column("data_type"), column("is_nullable")]);
    let columns = vec![
        texts(schema.fields().iter().map(|field| field.name().as_str())),
        texts(types.iter().map(String::as_str)),
        texts(schema.fields().iter().map(nullable)),
    ];
    Ok(RecordBatch::try_new(Arc::new(of), columns)?)
}
