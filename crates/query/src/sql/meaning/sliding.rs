//! Aggregates over a window that slides, without taking anything away.
//!
//! The library subtracts what leaves the window, which floats do not bear: once an infinity was in it the sum is
//! NaN for good. Here two stacks are kept. New rows go to the back, whose aggregate only grows. What leaves is
//! taken from the front, where for each row the aggregate of it and of all later ones is kept. When the front is
//! empty the back is turned over. So each row is aggregated twice, however wide the window is.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::Accumulator;

use super::recipe::Recipe;

/// An aggregate whose state is small, over a sliding window.
#[derive(Debug)]
pub struct Sliding {
    recipe: Arc<Recipe>,
    /// States; the last is that of the oldest row and all after it up to the back.
    front: Vec<Vec<ScalarValue>>,
    back: Box<dyn Accumulator>,
    /// The rows of the back, oldest first.
    rows: VecDeque<Vec<ArrayRef>>,
}

impl Sliding {
    pub fn new(recipe: Recipe) -> Result<Self> {
        let back = recipe.make()?;
        Ok(Self { recipe: Arc::new(recipe), front: Vec::new(), back, rows: VecDeque::new() })
    }

    /// Turns the back over.
    fn turn(&mut self) -> Result<()> {
        let mut suffix = self.recipe.make()?;
        while let Some(values) = self.rows.pop_back() {
            for row in (0..values[0].len()).rev() {
                let one: Vec<ArrayRef> = values.iter().map(|column| column.slice(row, 1)).collect();
                suffix.update_batch(&one)?;
                self.front.push(suffix.state()?);
            }
        }
        self.back = self.recipe.make()?;
        Ok(())
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if !values.is_empty() && !values[0].is_empty() {
            self.rows.push_back(values.to_vec());
            self.back.update_batch(values)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for _ in 0..values.first().map_or(0, |column| column.len()) {
            if self.front.is_empty() {
                self.turn()?;
            }
            if self.front.pop().is_none() {
                return internal_err!("more rows left a window than had come");
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(front) = self.front.last() else { return self.back.evaluate() };
        let back = self.back.state()?;
        let mut both = self.recipe.make()?;
        for state in [front, &back] {
            let columns = state.iter().map(ScalarValue::to_array).collect::<Result<Vec<_>>>()?;
            both.merge_batch(&columns)?;
        }
        both.evaluate()
    }

    fn size(&self) -> usize {
        let states = self.front.first().map_or(0, |state| state.iter().map(ScalarValue::size).sum());
        let rows: usize = self.rows.iter().flatten().map(|column| column.len() * 16).sum();
        size_of_val(self) + self.front.len() * states + rows + self.back.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("a window has no partial state")
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> Result<()> {
        internal_err!("a window has no partial state")
    }
}
