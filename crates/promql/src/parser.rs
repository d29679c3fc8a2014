//! The parser of PromQL: precedence climbing over the tokens of [`crate::lexer`], then the type
//! checks, with the errors of Prometheus 3.16.
//!
//! Invariants:
//! - The first error ends the parse. Upstream collects several and shows the first, too.
//! - Neither recursion here nor the tree that comes out is deeper than
//!   [`ParserSettings::depth_max`]; what needs more is refused with a clear error.
//!
//! Source: prometheus v3.16 `promql/parser/generated_parser.y` and `parse.go`. Where that grammar is
//! ambiguous, the comments here say how its parser generator decides.

mod tokens;
mod expr;
mod selector;
mod modifiers;
mod duration;
mod literal;
mod regexes;
mod check;

use std::fmt;

use promontory_model::Matcher;
use promontory_model::labels::Labels;

pub use self::literal::{parse_number, unquote};
use self::regexes::Regexes;
use self::tokens::{Context, NOWHERE, is_metric_name};
use crate::ast::{Expr, Span, line_col};
use crate::lexer::{Lexer, Token, TokenKind};

/// Levels of nesting that a default parser accepts: of brackets, calls, signs, and powers, which are read from the right. The
/// parser needs up to 2.6 KB for each (measured with nested aggregations), so that a thread of 1 MiB suffices;
/// hand-written queries stay below 20.
pub const NESTING_MAX: u32 = 256;

/// Nodes on a path of a tree that a default parser accepts. A chain such as `a or b or c` is no nesting, but its tree
/// is as deep as it is long, and generated ones have hundreds of terms. Every recursive walk of a tree, here and in
/// the planner, must have stack for this many.
pub const DEPTH_MAX: u32 = 1_024;

/// Bytes that the regular expressions of one text may take once they are compiled. Dashboards have some ten of a
/// few kilobytes; what is refused here would take half a second to compile.
const REGEX_BYTES_MAX: usize = 32 << 20;

/// What a parser accepts. The default is what Prometheus 3.16 accepts without feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserSettings {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// Arithmetic, `step()` and `range()` in brackets and offsets; on by default.
    pub duration_expressions: bool,
    /// `promql-binop-fill-modifiers`
    pub fill_modifiers: bool,
    /// Most levels of nesting.
    pub nesting_max: u32,
    /// Most nodes on a path from the root to a leaf.
    pub depth_max: u32,
    /// Most bytes of all regular expressions, compiled.
    pub regex_bytes_max: usize,
}

impl Default for ParserSettings {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: true,
            fill_modifiers: false,
            nesting_max: NESTING_MAX,
            depth_max: DEPTH_MAX,
            regex_bytes_max: REGEX_BYTES_MAX,
        }
    }
}

impl ParserSettings {
    /// Everything on, as the upstream test scripts want it.
    #[must_use]
    pub fn all() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            fill_modifiers: true,
            nesting_max: NESTING_MAX,
            depth_max: DEPTH_MAX,
            regex_bytes_max: REGEX_BYTES_MAX,
        }
    }
}

/// Why a text is not PromQL: `1:5: parse error: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Of the text at fault.
    pub span: Span,
    /// What is wrong, without the position.
    pub message: String,
    /// Line and column of the start of `span`; `None` if there is no text at all.
    pub position: Option<(usize, usize)>,
    /// True if the text is right and asks for more than is allowed.
    pub over_limit: bool,
}

impl ParseError {
    fn new(text: &str, span: Span, message: impl Into<String>) -> Self {
        let position = (!text.is_empty()).then(|| line_col(text, span.start));
        Self { span, message: message.into(), position, over_limit: false }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{line}:{column}: parse error: {}", self.message),
            None => write!(f, "unknown position: parse error: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}

type Parsed<T> = Result<T, ParseError>;

/// Parses and type-checks an expression.
///
/// # Errors
/// [`ParseError`] with the text of Prometheus.
pub fn parse(text: &str, settings: &ParserSettings) -> Result<Expr, ParseError> {
    parse_counted(text, settings).map(|(expr, _)| expr)
}

/// The same, with the bytes that its regular expressions take.
///
/// # Errors
/// As [`parse`].
pub fn parse_counted(text: &str, settings: &ParserSettings) -> Result<(Expr, usize), ParseError> {
    let mut parser = Parser::new(text, settings);
    if parser.peek()?.kind == TokenKind::End {
        return Err(ParseError::new(text, Span::default(), "no expression found in input"));
    }
    let mut expr = parser.expr(0)?;
    parser.expect_end()?;
    check::check(text, &mut expr)?;
    Ok((expr, parser.regexes.bytes))
}

/// Parses an instant vector selector without modifiers, as `match[]` parameters hold them. The
/// matchers may all match the empty string; whether that is allowed is the caller's business.
///
/// # Errors
/// [`ParseError`] with the text of Prometheus.
pub fn parse_metric_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    parse_metric_selectors(&[text]).map(|(mut sets, _)| sets.pop().unwrap_or_default())
}

/// The same of several, whose regular expressions are bounded together; with the bytes that they take.
///
/// # Errors
/// [`ParseError`] of the first that is wrong.
pub fn parse_metric_selectors(texts: &[impl AsRef<str>]) -> Result<(Vec<Vec<Matcher>>, usize), ParseError> {
    let (mut sets, mut regexes) = (Vec::with_capacity(texts.len()), Regexes::default());
    for text in texts {
        let mut parser = Parser::new(text.as_ref(), &ParserSettings::default());
        parser.regexes = regexes;
        sets.push(parser.metric_selector()?);
        regexes = parser.regexes;
    }
    Ok((sets, regexes.bytes))
}

/// Parses a label set such as `name{a="b"}` at the start of `text`; returns it with the number of
/// bytes that it takes.
///
/// # Errors
/// [`ParseError`] with the text of Prometheus.
pub fn parse_metric_prefix(text: &str) -> Result<(Labels, usize), ParseError> {
    let mut parser = Parser::new(text, &ParserSettings::default());
    parser.metric()
}

/// Operators that bind more tightly than a sign.
const ABOVE_SIGN: u8 = 6;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    ahead: Option<Token>,
    settings: ParserSettings,
    /// Where the last token that was taken ends.
    consumed: usize,
    /// The construct that an unexpected token is blamed on.
    context: Context,
    nesting: u32,
    regexes: Regexes,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, settings: &ParserSettings) -> Self {
        Self {
            text,
            lexer: Lexer::new(text),
            ahead: None,
            settings: *settings,
            consumed: 0,
            context: NOWHERE,
            nesting: 0,
            regexes: Regexes::default(),
        }
    }

    /// A selector and nothing behind it.
    fn metric_selector(&mut self) -> Parsed<Vec<Matcher>> {
        let token = self.peek()?;
        let (selector, _) = if is_metric_name(token.kind) {
            self.bump()?;
            self.vector_selector(Some(token))?
        } else if token.kind == TokenKind::LeftBrace {
            self.vector_selector(None)?
        } else {
            return Err(self.unexpected(token));
        };
        self.expect_end()?;
        Ok(selector.matchers)
    }
}

#[cfg(test)]
mod tests;
