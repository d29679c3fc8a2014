//! The most that a function can make of its arguments.
//!
//! Each rule is an upper bound that is cheap to compute: sums of lengths, never the values themselves.

use super::sizes::{Argument, Arguments};

/// Most bytes of a number, a time or a null as text.
const NUMBER_TEXT_BYTES: usize = 32;
/// Most bytes that one byte of a time's format becomes: `%c` is a whole date.
const FORMAT_GROWTH: usize = 32;
/// Most bytes of a character.
const CHAR_BYTES: usize = 4;
/// What an element of a list or a value of a column takes beside its bytes.
const ELEMENT_BYTES: usize = 16;

/// How a function grows; numbers are places of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Growth {
    /// All arguments, one after the other.
    Sum,
    /// The same, with the first between each two of the others.
    SumBetween,
    /// So many times the first argument.
    Times(usize),
    /// All arguments, each padded to the longest.
    Zipped,
    /// The first as often as the second says.
    Repeat,
    /// A list that has the first as often as the second says.
    RepeatElement,
    /// As many characters as the second says.
    Pad,
    /// A text in which each occurrence of the second becomes the third.
    Replace,
    /// A text in which matches of a regular expression become the third, which may name groups.
    RegexReplace,
    /// A number or nothing, of a regular expression.
    RegexOnly,
    /// The groups of a regular expression, each perhaps the whole text.
    RegexGroups,
    /// The elements of a list as text, with a separator and a text for nulls.
    Join,
    /// A list in which elements become the third argument.
    ReplaceElements,
    /// A time in a format that the second gives.
    Format,
}

impl Growth {
    /// True if the second argument is a regular expression.
    pub fn takes_regex(self) -> bool {
        matches!(self, Self::RegexReplace | Self::RegexGroups | Self::RegexOnly)
    }

    /// Most bytes of the output, for all rows.
    pub fn bytes_max(self, arguments: &Arguments) -> usize {
        let overhead = arguments.rows().saturating_mul(ELEMENT_BYTES);
        let all = || {
            arguments.iter().map(|argument| argument.bytes(arguments.rows())).fold(0, usize::saturating_add)
        };
        let bytes = match self {
            Self::Sum => all(),
            Self::SumBetween => {
                let between = arguments.get(0).map_or(0, |first| first.bytes(arguments.rows()));
                all().saturating_add(between.saturating_mul(arguments.iter().len()))
            }
            Self::RegexOnly => 0,
            Self::Times(times) => all().saturating_mul(times),
            Self::Zipped => all().saturating_add(leaves(arguments)).saturating_mul(arguments.iter().len()),
            Self::Join => join(arguments),
            Self::ReplaceElements => {
                let to = arguments.get(2).map_or(0, Argument::bytes_of_longest);
                all().saturating_add(leaves(arguments).saturating_mul(to.saturating_add(ELEMENT_BYTES)))
            }
            _ => (0..arguments.rows()).map(|row| self.row(arguments, row)).fold(0, usize::saturating_add),
        };
        bytes.saturating_add(overhead)
    }

    /// Most bytes of one row.
    fn row(self, arguments: &Arguments, row: usize) -> usize {
        let bytes = |place| arguments.get(place).map_or(0, |argument: &Argument| argument.bytes_at(row));
        let number = |place| arguments.get(place).map_or(0, |argument: &Argument| argument.number_at(row));
        let (first, second, third) = (bytes(0), bytes(1), bytes(2));
        match self {
            Self::Repeat => first.saturating_mul(number(1)),
            Self::RepeatElement => first.saturating_add(ELEMENT_BYTES).saturating_mul(number(1)),
            Self::Pad => number(1).saturating_mul(CHAR_BYTES),
            Self::Replace => (first / second.max(1) + 1).saturating_mul(third).saturating_add(first),
            Self::RegexReplace => {
                let all = arguments.get(3).is_some_and(|flags| flags.text_at(row).contains('g'));
                let matches = if all { first + 1 } else { 1 };
                // A group is named by at least two bytes, and all that a group matches is within the text.
                let groups = (third / 2).saturating_mul(first);
                matches.saturating_mul(third).saturating_add(groups).saturating_add(first)
            }
            Self::RegexGroups => {
                let groups = arguments.get(1).map_or(0, |regex| regex.text_at(row).matches('(').count());
                first.saturating_add(ELEMENT_BYTES).saturating_mul(groups + 1)
            }
            Self::Format => second.saturating_mul(FORMAT_GROWTH).saturating_add(NUMBER_TEXT_BYTES),
            _ => first,
        }
    }
}

/// Elements of all lists among the arguments, as bytes of an element each.
fn leaves(arguments: &Arguments) -> usize {
    let leaves = arguments.iter().map(|argument| argument.leaves(arguments.rows()));
    leaves.fold(0, usize::saturating_add).saturating_mul(ELEMENT_BYTES)
}

fn join(arguments: &Arguments) -> usize {
    let Some(list) = arguments.get(0) else { return 0 };
    let between = arguments.iter().skip(1).map(Argument::bytes_of_longest).fold(0, usize::saturating_add);
    let leaves = list.leaves(arguments.rows());
    leaves
        .saturating_mul(between.saturating_add(NUMBER_TEXT_BYTES))
        .saturating_add(list.bytes(arguments.rows()))
}
