//! The law on licences: what may be shipped with this program.

use super::facts::Licensed;

/// SPDX terms under which a dependency may be used: permissive ones, without a duty beyond notice.
pub const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Law 5: every package can be used under terms of [`LICENCES`].
#[must_use]
pub fn licences(packages: &[Licensed]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        match &package.licence {
            None => found.push(format!("{}: no licence in its manifest", package.name)),
            Some(terms) if !is_usable(terms) => {
                found.push(format!("{}: licence {terms:?} is not in the allow list", package.name));
            }
            Some(_) => {}
        }
    }
    found
}

/// True if a choice that the SPDX expression offers lies inside [`LICENCES`].
///
/// `AND` binds tighter than `OR`; the old `/` means `OR`. Source: SPDX 2.3, annex D.
pub(super) fn is_usable(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().collect::<Vec<_>>();
    words.reverse();
    any_of(&mut words) && words.is_empty()
}

fn any_of(words: &mut Vec<&str>) -> bool {
    let mut usable = all_of(words);
    while words.last() == Some(&"OR") {
        words.pop();
        usable |= all_of(words);
    }
    usable
}

fn all_of(words: &mut Vec<&str>) -> bool {
    let mut usable = term(words);
    while words.last() == Some(&"AND") {
        words.pop();
        usable &= term(words);
    }
    usable
}

fn term(words: &mut Vec<&str>) -> bool {
    let Some(word) = words.pop() else { return false };
    if word == "(" {
        let usable = any_of(words);
        return words.pop() == Some(")") && usable;
    }
    if words.last() != Some(&"WITH") {
        return LICENCES.contains(&word);
    }
    words.pop();
    let exception = words.pop().unwrap_or_default();
    LICENCES.contains(&format!("{word} WITH {exception}").as_str())
}
