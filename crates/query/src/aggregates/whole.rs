//! An aggregation of the whole input as one group.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use promontory_model::MutexExt as _;

use crate::table::GridBuilder;

/// The whole input as one group, which exists even without input: `absent` and `scalar` need that.
///
/// `Accumulator` wants `Sync`, an accumulator of groups is only `Send`: hence the mutex, which nobody
/// ever waits for.
pub(super) struct OneGroup {
    pub(super) groups: Mutex<Box<dyn GroupsAccumulator>>,
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneGroup")
    }
}

impl OneGroup {
    fn groups(&mut self) -> &mut dyn GroupsAccumulator {
        self.groups.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn rows(values: &[ArrayRef]) -> Vec<usize> {
        vec![0; values.first().map_or(0, |array| array.len())]
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.groups().update_batch(values, &Self::rows(values), None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.groups().update_batch(&[empty_grids()?], &[], None, 1)?;
        ScalarValue::try_from_array(&self.groups().evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.groups.locked().size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.groups().update_batch(&[empty_grids()?], &[], None, 1)?;
        let state = self.groups().state(EmitTo::All)?;
        state.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.groups().merge_batch(states, &Self::rows(states), 1)
    }
}

fn empty_grids() -> Result<ArrayRef> {
    Ok(GridBuilder::new(0, 0).finish())
}
