//! The regular expressions of one text: each compiled once, all together within a bound.

use std::collections::HashMap;

use promontory_model::re2::Re2;

/// Work of classes that one text may take, in code points ([`Re2::class_work`]): a tenth of a second.
const CLASS_WORK_MAX: u64 = 8 << 20;

/// What was compiled.
#[derive(Debug, Default)]
pub(super) struct Regexes {
    known: HashMap<String, Re2>,
    pub(super) bytes: usize,
    class_work: u64,
}

/// Why there is no expression.
pub(super) enum Refusal {
    /// RE2 would refuse it, with the reason.
    Wrong(String),
    /// All together would take too much.
    TooMuch(String),
}

impl Regexes {
    /// The expression for `pattern`; all that were asked for take at most `bytes_max` together.
    pub(super) fn compile(&mut self, pattern: &str, bytes_max: usize) -> Result<Re2, Refusal> {
        if let Some(known) = self.known.get(pattern) {
            return Ok(known.clone());
        }
        let regex = Re2::new_anchored(pattern).map_err(Refusal::Wrong)?;
        self.bytes += regex.memory_bytes();
        self.class_work += regex.class_work();
        if self.class_work > CLASS_WORK_MAX {
            let text = "the classes of the regular expressions take too long to compile; use fewer \\p, or keep the case";
            return Err(Refusal::TooMuch(text.to_owned()));
        }
        if self.bytes > bytes_max {
            return Err(Refusal::TooMuch(format!(
                "the regular expressions take more than {bytes_max} bytes once they are compiled; use fewer or simpler ones"
            )));
        }
        self.known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}
