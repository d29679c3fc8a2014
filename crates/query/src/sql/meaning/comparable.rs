//! `comparable(x)`: a value whose bits order as it does.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, GenericListArray, MapArray,
    OffsetSizeTrait, PrimitiveArray, StructArray, UInt32Array, make_comparator,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// True if values of a type may be equal while their bits are not.
pub fn has_aliases(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Map(..) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            has_aliases(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_aliases(field.data_type())),
        _ => false,
    }
}

/// The expression as one that can be compared, if its type needs it.
pub fn comparable(expr: Expr, data_type: &DataType) -> Expr {
    let already = matches!(&expr, Expr::ScalarFunction(call) if call.func.name() == NAME);
    if already || !has_aliases(data_type) {
        return expr;
    }
    call(Kept::Nothing, expr)
}

/// The same, but that zeros keep their signs: in an order `-0.0` may come before `0.0`.
pub fn one_nan(expr: Expr, data_type: &DataType) -> Expr {
    if has_aliases(data_type) { call(Kept::Zeros, expr) } else { expr }
}

fn call(kept: Kept, expr: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(Comparable { kept, signature }).call(vec![expr])
}

/// What stays of equal values that are not the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Nothing,
    Zeros,
}

/// The same rows in which equal values are the same.
pub fn comparable_columns(plan: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    if !plan.schema().fields().iter().any(|field| has_aliases(field.data_type())) {
        return Ok(Arc::clone(plan));
    }
    let exprs = plan.schema().iter().map(|(relation, field)| {
        let column = Expr::Column((relation, field).into());
        if !has_aliases(field.data_type()) {
            return column;
        }
        comparable(column, field.data_type()).alias_qualified(relation.cloned(), field.name())
    });
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::clone(plan))?)))
}

const NAME: &str = "comparable";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Comparable {
    kept: Kept,
    signature: Signature,
}

impl ScalarUDFImpl for Comparable {
    fn name(&self) -> &'static str {
        match self.kept {
            Kept::Nothing => NAME,
            Kept::Zeros => "one_nan",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        map_value(&args.args[0], |values| alike(values, self.kept))
    }
}

/// Applies a function of columns to a column or to one value.
pub fn map_value(value: &ColumnarValue, of: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(values) => ColumnarValue::Array(of(values)?),
        ColumnarValue::Scalar(value) => {
            let one = of(&value.to_array()?)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?)
        }
    })
}

/// The same values with one NaN, one zero, and maps sorted by their keys.
pub fn canonical(values: &ArrayRef) -> Result<ArrayRef> {
    alike(values, Kept::Nothing)
}

fn alike(values: &ArrayRef, kept: Kept) -> Result<ArrayRef> {
    let zero = if kept == Kept::Zeros { -0.0 } else { 0.0 };
    Ok(match values.data_type() {
        DataType::Float64 => floats::<Float64Type>(
            values,
            |value| {
                if value.is_nan() { f64::NAN } else { value + zero }
            },
            |value| value.to_bits() == (-0.0_f64).to_bits() || value.is_nan(),
        ),
        DataType::Float32 => floats::<Float32Type>(
            values,
            |value| {
                if value.is_nan() { f32::NAN } else { value + zero as f32 }
            },
            |value| value.to_bits() == (-0.0_f32).to_bits() || value.is_nan(),
        ),
        DataType::Float16 => {
            let wide = arrow::compute::cast(values, &DataType::Float64)?;
            let narrow = arrow::compute::cast(&alike(&wide, kept)?, &DataType::Float16)?;
            debug_assert!(narrow.as_primitive_opt::<Float16Type>().is_some());
            narrow
        }
        DataType::List(_) => list(values.as_list::<i32>(), kept)?,
        DataType::LargeList(_) => list(values.as_list::<i64>(), kept)?,
        DataType::FixedSizeList(field, length) => {
            let list = values.as_fixed_size_list();
            let inner = alike(list.values(), kept)?;
            Arc::new(FixedSizeListArray::try_new(Arc::clone(field), *length, inner, list.nulls().cloned())?)
        }
        DataType::Struct(_) => Arc::new(structs(values.as_struct(), kept)?),
        DataType::Map(..) => map(values.as_map(), kept)?,
        _ => Arc::clone(values),
    })
}

fn floats<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    of: impl Fn(T::Native) -> T::Native,
    is_odd: impl Fn(T::Native) -> bool,
) -> ArrayRef {
    let floats: &PrimitiveArray<T> = values.as_primitive();
    // Most columns have neither; then nothing is copied.
    if !floats.values().iter().any(|value| is_odd(*value)) {
        return Arc::clone(values);
    }
    Arc::new(floats.unary::<_, T>(of))
}

fn list<O: OffsetSizeTrait>(list: &GenericListArray<O>, kept: Kept) -> Result<ArrayRef> {
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else {
        return Ok(Arc::new(list.clone()));
    };
    let inner = alike(list.values(), kept)?;
    let offsets = list.offsets().clone();
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(field), offsets, inner, list.nulls().cloned())?))
}

fn structs(of: &StructArray, kept: Kept) -> Result<StructArray> {
    let columns = of.columns().iter().map(|column| alike(column, kept)).collect::<Result<Vec<_>>>()?;
    Ok(StructArray::try_new(of.fields().clone(), columns, of.nulls().cloned())?)
}

fn map(map: &MapArray, kept: Kept) -> Result<ArrayRef> {
    let DataType::Map(field, _) = map.data_type() else { return Ok(Arc::new(map.clone())) };
    let entries = structs(map.entries(), kept)?;
    let entries = match order(map.value_offsets(), entries.column(0))? {
        Some(order) => take(&entries, &order, None)?.as_struct().clone(),
        None => entries,
    };
    let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, nulls, false)?))
}

/// The places of entries such that the keys of each map ascend; `None` if they do.
fn order(offsets: &[i32], keys: &ArrayRef) -> Result<Option<UInt32Array>> {
    let compare = make_comparator(keys, keys, SortOptions::default())?;
    let ascends = |pair: &[usize]| compare(pair[0], pair[1]) != Ordering::Greater;
    let mut places: Vec<usize> = (0..keys.len()).collect();
    let mut sorted = true;
    for ends in offsets.windows(2) {
        let entries = &mut places[ends[0] as usize..ends[1] as usize];
        if !entries.windows(2).all(ascends) {
            entries.sort_by(|a, b| compare(*a, *b));
            sorted = false;
        }
    }
    Ok((!sorted).then(|| places.into_iter().map(|place| place as u32).collect()))
}
