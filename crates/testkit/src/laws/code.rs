//! What the laws on source text see of a file: its module, its imports, its public items, and no tests.
//!
//! Tests are files named `tests.rs`, files in a folder `tests`, modules that are declared under
//! `#[cfg(test)]`, and items under `#[cfg(test)]` or `#[test]`.

use std::collections::BTreeSet;
use std::slice::Iter;

use super::facts::SourceFile;
use super::lexer::{Lexeme, is_word, tokens};

/// What begins an item with a name.
const KEYWORDS: &[&str] = &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod"];

/// A file of a crate's sources, without its tests.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Relative to the root of the repository.
    pub path: &'a str,
    /// The folder of its crate: `store`, `benches`.
    pub room: &'a str,
    /// Its module inside the crate; empty for `lib.rs` and `main.rs`.
    pub module: Vec<&'a str>,
    /// Number of its lines, comments and tests included.
    pub lines: usize,
    /// Its code without comments and tests.
    pub tokens: Vec<Lexeme<'a>>,
}

/// One name that a `use` brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import<'a> {
    /// As written, groups unfolded; ends in `*` where all names are meant.
    pub path: Vec<&'a str>,
    /// The name by which the module has it.
    pub name: &'a str,
    /// True for `pub use`, without restriction.
    pub is_public: bool,
}

/// An item that is `pub` without restriction, outside of any braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// `struct`, `fn`, `mod` and so on.
    pub keyword: &'a str,
    /// The name that it defines.
    pub name: &'a str,
}

/// The files among `sources` that are part of a crate and no tests, in the order given.
#[must_use]
pub fn files(sources: &[SourceFile]) -> Vec<File<'_>> {
    let mut files = Vec::new();
    let mut tests = BTreeSet::new();
    for source in sources {
        let Some((room, module)) = place(&source.path) else { continue };
        let (tokens, test_modules) = without_tests(&tokens(&source.text));
        for name in test_modules {
            tests.insert((room, [module.as_slice(), &[name]].concat()));
        }
        files.push(File { path: &source.path, room, module, lines: source.text.lines().count(), tokens });
    }
    files.retain(|file| {
        (1..=file.module.len()).all(|len| !tests.contains(&(file.room, file.module[..len].to_vec())))
    });
    files
}

impl<'a> File<'a> {
    /// What its `use` statements bring in.
    #[must_use]
    pub fn imports(&self) -> Vec<Import<'a>> {
        let mut imports = Vec::new();
        for idx in self.use_statements() {
            let is_public = idx > 0 && self.tokens[idx - 1].text == "pub";
            let from = imports.len();
            use_tree(&mut self.tokens[idx + 1..].iter(), Vec::new(), &mut imports);
            imports[from..].iter_mut().for_each(|import| import.is_public = is_public);
        }
        imports
    }

    /// Paths that begin with `crate`, `self` or `super`, wherever they stand but in groups of `use`.
    #[must_use]
    pub fn paths(&self) -> Vec<Vec<&'a str>> {
        let begins = |idx: &usize| matches!(self.tokens[*idx].text, "crate" | "self" | "super");
        let continues =
            |idx: &usize| *idx >= 2 && self.tokens[idx - 1].text == ":" && self.tokens[idx - 2].text == ":";
        let heads = (0..self.tokens.len()).filter(begins).filter(|idx| !continues(idx));
        heads.map(|idx| path(&self.tokens[idx..])).filter(|path| path.len() > 1).collect()
    }

    /// Its public items, imports not counted.
    #[must_use]
    pub fn public_items(&self) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        let mut depth = 0_usize;
        for (idx, token) in self.tokens.iter().enumerate() {
            match token.text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                "pub" if depth == 0 => items.extend(item(&self.tokens[idx + 1..])),
                _ => {}
            }
        }
        items
    }

    /// Does it define `name`, public or not?
    #[must_use]
    pub fn defines(&self, name: &str) -> bool {
        self.tokens.windows(2).any(|pair| KEYWORDS.contains(&pair[0].text) && pair[1].text == name)
    }

    /// Each function with a body: its name, the line of its `fn`, and its lines from there to the
    /// closing brace.
    #[must_use]
    pub fn functions(&self) -> Vec<(&'a str, usize, usize)> {
        let mut functions = Vec::new();
        for (idx, pair) in self.tokens.windows(2).enumerate() {
            if pair[0].text == "fn"
                && is_word(pair[1].text)
                && let Some(last) = body_end(&self.tokens[idx..])
            {
                functions.push((pair[1].text, pair[0].line, last - pair[0].line + 1));
            }
        }
        functions
    }

    /// `impl Trait + use<'a>` is none.
    fn use_statements(&self) -> impl Iterator<Item = usize> {
        let next = |idx: usize| self.tokens.get(idx + 1).map_or("<", |token| token.text);
        (0..self.tokens.len()).filter(move |idx| self.tokens[*idx].text == "use" && next(*idx) != "<")
    }
}

/// Crate and module of a path such as `crates/store/src/catalog/delta.rs`; `None` for tests and for
/// what is no part of a crate's sources.
fn place(path: &str) -> Option<(&str, Vec<&str>)> {
    let (room, inside) = path.strip_prefix("crates/").unwrap_or(path).split_once("/src/")?;
    let mut module: Vec<&str> = inside.strip_suffix(".rs")?.split('/').collect();
    if module.contains(&"tests") {
        return None;
    }
    if module.last() == Some(&"mod") || matches!(module[..], ["lib" | "main"]) {
        module.pop();
    }
    Some((room, module))
}

/// The tokens outside of tests, and the names of the modules that are declared as tests.
fn without_tests<'a>(tokens: &[Lexeme<'a>]) -> (Vec<Lexeme<'a>>, Vec<&'a str>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut idx = 0;
    while idx < tokens.len() {
        if !is_test(&tokens[idx..]) {
            kept.push(tokens[idx]);
            idx += 1;
            continue;
        }
        let end = idx + item_len(&tokens[idx..]);
        let declared =
            tokens[idx..end].windows(3).find(|three| three[0].text == "mod" && three[2].text == ";");
        modules.extend(declared.map(|three| three[1].text));
        idx = end;
    }
    (kept, modules)
}

fn is_test(tokens: &[Lexeme<'_>]) -> bool {
    let begins = |words: &[&str]| {
        words.iter().zip(tokens).filter(|(word, token)| **word == token.text).count() == words.len()
    };
    begins(&["#", "[", "test", "]"])
        || begins(&["#", "[", "cfg", "(", "test", ")"])
        || begins(&["#", "[", "cfg", "(", "all", "(", "test"])
}

/// Tokens of the item or field at the head of `tokens`, its attributes included.
fn item_len(tokens: &[Lexeme<'_>]) -> usize {
    let mut idx = 0;
    while tokens.get(idx).is_some_and(|token| token.text == "#") {
        idx += 1 + group_len(&tokens[idx + 1..]);
    }
    let mut angles = 0_usize;
    while let Some(token) = tokens.get(idx) {
        match token.text {
            ";" => return idx + 1,
            "," if angles == 0 => return idx + 1,
            "{" => return idx + group_len(&tokens[idx..]),
            "(" | "[" => idx += group_len(&tokens[idx..]) - 1,
            "}" | ")" | "]" => return idx,
            "<" => angles += 1,
            ">" => angles = angles.saturating_sub(1),
            _ => {}
        }
        idx += 1;
    }
    tokens.len()
}

/// Tokens from the bracket at the head to the one that closes it; at least one.
fn group_len(tokens: &[Lexeme<'_>]) -> usize {
    let mut depth = 0_usize;
    for (idx, token) in tokens.iter().enumerate() {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return idx + 1;
        }
    }
    tokens.len()
}

/// The last line of the function whose `fn` is at the head; `None` if it has no body.
fn body_end(tokens: &[Lexeme<'_>]) -> Option<usize> {
    let mut idx = 0;
    loop {
        match tokens.get(idx)?.text {
            ";" => return None,
            "{" => return Some(tokens[idx + group_len(&tokens[idx..]) - 1].line),
            "(" | "[" => idx += group_len(&tokens[idx..]),
            _ => idx += 1,
        }
    }
}

fn item<'a>(tokens: &[Lexeme<'a>]) -> Option<Item<'a>> {
    const BEFORE: &[&str] = &["const", "async", "unsafe", "extern", "\"C\"", "mut"];
    let words = tokens.windows(2).take(BEFORE.len());
    let mut words = words.skip_while(|pair| {
        let continues = BEFORE.contains(&pair[1].text) || KEYWORDS.contains(&pair[1].text);
        BEFORE.contains(&pair[0].text) && continues
    });
    let pair = words.next()?;
    KEYWORDS.contains(&pair[0].text).then(|| Item { keyword: pair[0].text, name: pair[1].text })
}

/// The names of the path at the head, without a `::<...>`.
fn path<'a>(tokens: &[Lexeme<'a>]) -> Vec<&'a str> {
    let mut names = vec![tokens[0].text];
    let mut rest = &tokens[1..];
    while let [colon, second, name, after @ ..] = rest
        && (colon.text, second.text) == (":", ":")
        && is_word(name.text)
    {
        names.push(name.text);
        rest = after;
    }
    names
}

/// Reads one tree of a `use` into `out`, and answers the mark that ended it: `,`, `}` or `;`.
fn use_tree<'a>(
    tokens: &mut Iter<'_, Lexeme<'a>>,
    above: Vec<&'a str>,
    out: &mut Vec<Import<'a>>,
) -> &'a str {
    let mut path = above.clone();
    let (mut alias, mut is_group) = (None, false);
    while let Some(token) = tokens.next() {
        match token.text {
            ":" => {}
            "as" => alias = tokens.next().map(|token| token.text),
            "{" => {
                while use_tree(tokens, path.clone(), out) == "," {}
                is_group = true;
            }
            "," | "}" | ";" => {
                if !is_group && path.len() > above.len() {
                    out.push(import(path, alias));
                }
                return token.text;
            }
            word => path.push(word),
        }
    }
    ";"
}

fn import<'a>(mut path: Vec<&'a str>, alias: Option<&'a str>) -> Import<'a> {
    // `use a::{self}` is `use a`.
    if path.len() > 1 && path.last() == Some(&"self") {
        path.pop();
    }
    let name = alias.or(path.last().copied()).unwrap_or_default();
    Import { path, name, is_public: false }
}

#[cfg(test)]
mod tests;
