//! Types as SQL names them.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// `BIGINT`, `VARCHAR`, `MAP(VARCHAR, VARCHAR)`: the name of a type in answers, errors and lists of columns.
///
/// Types that only SQL's relatives have keep names that DuckDB and PostgreSQL understand.
#[must_use]
pub fn sql_type(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Null => "NULL".into(),
        T::Boolean => "BOOLEAN".into(),
        T::Int8 => "TINYINT".into(),
        T::Int16 => "SMALLINT".into(),
        T::Int32 => "INTEGER".into(),
        T::Int64 => "BIGINT".into(),
        T::UInt8 => "UTINYINT".into(),
        T::UInt16 => "USMALLINT".into(),
        T::UInt32 => "UINTEGER".into(),
        T::UInt64 => "UBIGINT".into(),
        T::Float16 | T::Float32 => "REAL".into(),
        T::Float64 => "DOUBLE".into(),
        T::Decimal32(p, s) | T::Decimal64(p, s) | T::Decimal128(p, s) | T::Decimal256(p, s) => {
            format!("DECIMAL({p}, {s})")
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR".into(),
        other => sql_type_of_rare(other),
    }
}

fn sql_type_of_rare(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE".into(),
        T::Timestamp(_, None) => "TIMESTAMP".into(),
        T::Date32 | T::Date64 => "DATE".into(),
        T::Time32(_) | T::Time64(_) => "TIME".into(),
        T::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano)
        | T::Duration(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
        ) => "INTERVAL".into(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BLOB".into(),
        T::List(field) | T::LargeList(field) | T::ListView(field) | T::LargeListView(field) => {
            format!("{}[]", sql_type(field.data_type()))
        }
        T::FixedSizeList(field, length) => format!("{}[{length}]", sql_type(field.data_type())),
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) if fields.len() == 2 => {
                format!("MAP({}, {})", sql_type(fields[0].data_type()), sql_type(fields[1].data_type()))
            }
            _ => "MAP".into(),
        },
        T::Struct(fields) => {
            let fields =
                fields.iter().map(|field| format!("{} {}", field.name(), sql_type(field.data_type())));
            format!("STRUCT({})", fields.collect::<Vec<_>>().join(", "))
        }
        T::Dictionary(_, value) => sql_type(value),
        T::RunEndEncoded(_, value) => sql_type(value.data_type()),
        other => other.to_string().to_uppercase(),
    }
}

/// A text in which the names of Arrow's types became those of SQL.
#[must_use]
pub fn with_sql_types(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let word = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let long = word + parenthesis(&rest[word..]);
        // `Null` and `Date` are also words of a sentence.
        let named = |to: usize| {
            let known = rest[..to].parse::<DataType>().ok().filter(|found| *found != DataType::Null);
            known.map(|found| (sql_type(&found), to))
        };
        let (shown, to) =
            named(long).or_else(|| named(word)).unwrap_or_else(|| (rest[..word].to_owned(), word));
        out.push_str(&shown);
        rest = &rest[to..];
    }
    out + rest
}

/// Bytes of a parenthesis that begins here with all that is in it, 0 if none does.
fn parenthesis(text: &str) -> usize {
    if !text.starts_with('(') {
        return 0;
    }
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_arrow_become_names_of_sql() {
        for (text, expected) in [
            ("Cannot coerce Utf8View + Int64", "Cannot coerce VARCHAR + BIGINT"),
            ("value NaN to type Int32.", "value NaN to type INTEGER."),
            ("Float64 > Timestamp(ms, \"UTC\") fails", "DOUBLE > TIMESTAMP WITH TIME ZONE fails"),
            ("List(Int64), Null, nothing", "BIGINT[], Null, nothing"),
            ("a Date of (Foo(Int8))", "a Date of (Foo(TINYINT))"),
            ("", ""),
            ("é Utf8 (unclosed Int8", "é VARCHAR (unclosed TINYINT"),
        ] {
            assert_eq!(with_sql_types(text), expected);
        }
    }
}
