//! The laws on size: most functions fit on a screen and most files in one sitting.
//!
//! A few long ones are fine, so these laws are about shares: the ninetieth percentile is the value
//! that nine tenths do not exceed (nearest rank).

use super::code::File;
use super::known::Offence;

/// Nine functions of ten are at most so long, from `fn` to the closing brace.
pub const FUNCTION_LINES_P90_MAX: usize = 23;

/// A function above this is long.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Most functions of a thousand that may be long.
pub const LONG_PER_THOUSAND_MAX: usize = 5;

/// Nine files of ten are at most so long.
pub const FILE_LINES_P90_MAX: usize = 480;

/// No file is longer.
pub const FILE_LINES_MAX: usize = 900;

/// How many of the longest a message names.
const NAMED_MAX: usize = 12;

/// Law 12: functions stay short. What breaks is said with the longest ones.
#[must_use]
pub fn function_lines(files: &[File<'_>]) -> Vec<String> {
    let mut functions = Vec::new();
    for file in files {
        let place = |(name, line, lines)| (lines, format!("{}:{line} {name}", file.path));
        functions.extend(file.functions().into_iter().map(place));
    }
    let mut found = Vec::new();
    let p90 = p90(&mut functions);
    if p90 > FUNCTION_LINES_P90_MAX {
        found.push(format!("functions: p90 is {p90} lines, {FUNCTION_LINES_P90_MAX} are allowed"));
    }
    let long = functions.iter().filter(|(lines, _)| *lines > FUNCTION_LINES_MAX).count();
    if long * 1000 >= LONG_PER_THOUSAND_MAX * functions.len().max(1) {
        let longest = longest(&functions);
        let all = functions.len();
        found.push(format!("functions: {long} of {all} have over {FUNCTION_LINES_MAX} lines: {longest}"));
    }
    found
}

/// Law 12: nine files of ten stay below [`FILE_LINES_P90_MAX`].
#[must_use]
pub fn file_lines_p90(files: &[File<'_>]) -> Vec<String> {
    let mut lines: Vec<_> = files.iter().map(|file| (file.lines, file.path.to_owned())).collect();
    let p90 = p90(&mut lines);
    let say = || {
        let longest = longest(&lines);
        format!("files: p90 is {p90} lines, {FILE_LINES_P90_MAX} are allowed: {longest}")
    };
    (p90 > FILE_LINES_P90_MAX).then(say).into_iter().collect()
}

/// Law 12: no file is longer than [`FILE_LINES_MAX`].
#[must_use]
pub fn long_files(files: &[File<'_>]) -> Vec<Offence> {
    let long = files.iter().filter(|file| file.lines > FILE_LINES_MAX);
    let say = |file: &File<'_>| Offence {
        who: file.path.to_owned(),
        what: format!("has {} lines, {FILE_LINES_MAX} are allowed", file.lines),
    };
    long.map(say).collect()
}

/// Sorts, shortest first, and answers the ninetieth percentile; 0 for nothing.
fn p90(sizes: &mut [(usize, String)]) -> usize {
    sizes.sort();
    let rank = (sizes.len() * 9).div_ceil(10);
    rank.checked_sub(1).map_or(0, |idx| sizes[idx].0)
}

fn longest(sizes: &[(usize, String)]) -> String {
    let named = sizes.iter().rev().take(NAMED_MAX);
    named.map(|(lines, name)| format!("{name} ({lines})")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
