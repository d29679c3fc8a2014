//! Sizes of arguments: bytes of contents, whatever buffers they lie in.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;

/// The arguments of a call.
pub struct Arguments {
    arguments: Vec<Argument>,
    rows: usize,
    constant: bool,
}

/// One argument: a column, or a constant that stands for every row.
pub struct Argument {
    values: ArrayRef,
    constant: bool,
}

impl Arguments {
    /// # Errors
    /// If a constant cannot become an array, which is a bug of the planner.
    pub fn new(values: &[ColumnarValue], rows: usize) -> Result<Self> {
        let arguments = values.iter().map(Argument::new).collect::<Result<Vec<Argument>>>()?;
        let constant = arguments.iter().all(|argument| argument.constant);
        Ok(Self { arguments, rows: if constant { 1 } else { rows }, constant })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// True if all are, and so is what the function makes of them.
    pub fn constant(&self) -> bool {
        self.constant
    }

    pub fn get(&self, place: usize) -> Option<&Argument> {
        self.arguments.get(place)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Argument> {
        self.arguments.iter()
    }
}

impl Argument {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(values) => Self { values: values.clone(), constant: false },
            ColumnarValue::Scalar(value) => Self { values: value.to_array_of_size(1)?, constant: true },
        })
    }

    pub fn is_constant(&self) -> bool {
        self.constant
    }

    fn place(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    /// Bytes in all rows.
    pub fn bytes(&self, rows: usize) -> usize {
        let times = if self.constant { rows } else { 1 };
        bytes_of(&self.values).saturating_mul(times)
    }

    /// Bytes in one row.
    pub fn bytes_at(&self, row: usize) -> usize {
        value_bytes(&self.values, self.place(row))
    }

    /// Bytes of the longest row.
    pub fn bytes_of_longest(&self) -> usize {
        (0..self.values.len()).map(|row| value_bytes(&self.values, row)).max().unwrap_or(0)
    }

    /// Elements of lists in all rows; a value that is no list is one.
    pub fn leaves(&self, rows: usize) -> usize {
        let times = if self.constant { rows } else { 1 };
        leaves_of(&self.values).saturating_mul(times)
    }

    /// The whole number in one row; what is negative or no number is 0.
    pub fn number_at(&self, row: usize) -> usize {
        let place = self.place(row);
        if self.values.is_null(place) {
            return 0;
        }
        match self.values.data_type() {
            DataType::Int64 => {
                usize::try_from(self.values.as_primitive::<Int64Type>().value(place)).unwrap_or(0)
            }
            DataType::Int32 => {
                usize::try_from(self.values.as_primitive::<Int32Type>().value(place)).unwrap_or(0)
            }
            DataType::UInt64 => {
                usize::try_from(self.values.as_primitive::<UInt64Type>().value(place)).unwrap_or(usize::MAX)
            }
            DataType::Null => 0,
            // No signature has another; were there one, it would have no bound.
            _ => usize::MAX,
        }
    }

    /// The text in one row; empty where there is none.
    pub fn text_at(&self, row: usize) -> &str {
        let place = self.place(row);
        if self.values.is_null(place) {
            return "";
        }
        match self.values.data_type() {
            DataType::Utf8 => self.values.as_string::<i32>().value(place),
            DataType::LargeUtf8 => self.values.as_string::<i64>().value(place),
            DataType::Utf8View => self.values.as_string_view().value(place),
            _ => "",
        }
    }
}

/// Bytes of contents of a column.
pub fn bytes_of(array: &ArrayRef) -> usize {
    let span = |offsets: (usize, usize)| offsets.1 - offsets.0;
    match array.data_type() {
        DataType::Utf8 => span(ends(array.as_string::<i32>().value_offsets())),
        DataType::LargeUtf8 => span(ends(array.as_string::<i64>().value_offsets())),
        DataType::Binary => span(ends(array.as_binary::<i32>().value_offsets())),
        DataType::LargeBinary => span(ends(array.as_binary::<i64>().value_offsets())),
        DataType::Utf8View => array.as_string_view().lengths().map(|length| length as usize).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize).sum(),
        DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => {
            let (from, to, values) = elements(array);
            bytes_of(&values.slice(from, to - from)).saturating_add(array.len() * size_of::<i64>())
        }
        DataType::Struct(_) => {
            array.as_struct().columns().iter().map(bytes_of).fold(0, usize::saturating_add)
        }
        // Of what is left, an array's own count is the width times the length.
        _ => array.get_array_memory_size().min(array.to_data().get_slice_memory_size().unwrap_or(usize::MAX)),
    }
}

/// Bytes of contents of one value.
fn value_bytes(array: &ArrayRef, row: usize) -> usize {
    if array.is_null(row) {
        return 0;
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value_length(row) as usize,
        DataType::LargeUtf8 => array.as_string::<i64>().value_length(row) as usize,
        DataType::Utf8View => array.as_string_view().value(row).len(),
        DataType::Null => 0,
        _ => bytes_of(&array.slice(row, 1)),
    }
}

fn leaves_of(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::List(_) | DataType::LargeList(_) => {
            let (from, to, values) = elements(array);
            leaves_of(&values.slice(from, to - from))
        }
        _ => array.len(),
    }
}

/// Where the elements of a column of lists or maps lie.
fn elements(array: &ArrayRef) -> (usize, usize, ArrayRef) {
    match array.data_type() {
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (from, to) = ends(list.value_offsets());
            (from, to, list.values().clone())
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let (from, to) = ends(map.value_offsets());
            (from, to, std::sync::Arc::new(map.entries().clone()))
        }
        _ => {
            let list = array.as_list::<i32>();
            let (from, to) = ends(list.value_offsets());
            (from, to, list.values().clone())
        }
    }
}

/// The first and the last offset.
fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> (usize, usize) {
    let at = |offset: Option<&T>| offset.and_then(|offset| (*offset).try_into().ok()).unwrap_or(0);
    (at(offsets.first()), at(offsets.last()))
}
