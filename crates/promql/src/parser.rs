//! The parser of PromQL: precedence climbing over the tokens of [`crate::lexer`], then the type
//! checks, with the errors of Prometheus 3.16.
//!
//! Words:
//! - *context*: the innermost construct that names itself in an error (`in label matching, expected
//!   ...`). Upstream's grammar has a rule for such errors in a few places only, and an error inside a
//!   nested expression belongs to the next such place outwards.
//!
//! Invariants:
//! - The first error ends the parse. Upstream collects several and shows the first, too.
//! - Neither recursion here nor the tree that comes out is deeper than
//!   [`ParserOptions::depth_max`]; what needs more is refused with a clear error.
//!
//! Source: prometheus v3.16 `promql/parser/generated_parser.y` and `parse.go`. Where that grammar is
//! ambiguous, the comments here say how its parser generator decides.

use std::fmt;

use promontory_model::labels::{Labels, LabelsBuilder, METRIC_NAME, quote};
use promontory_model::{MatchOp, Matcher};

use crate::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationOp, DurationSpec,
    DurationTerm, Expr, ExprKind, FillValue, Function, FunctionId, Grouping, MatrixSelector, Number,
    RangeExtension, Span, Subquery, UnaryOp, ValueType, VectorMatching, VectorSelector, line_col,
};
use crate::duration::{apply_sign, out_of_range, parse_duration, seconds_to_millis};
use crate::kernels::go;
use crate::lexer::{Keyword, Lexer, Preprocessor, Token, TokenKind};

mod check;
mod literal;

pub use literal::{parse_number, unquote};

/// Levels of nesting that a default parser accepts. Every recursive walk of a tree, here and in the
/// planner, must have stack for this many. The parser itself needs up to 2.6 KB for each (measured
/// with nested aggregations), so that a thread of 1 MiB suffices; hand-written queries stay below 20.
pub const DEPTH_MAX: u32 = 256;

/// What a parser accepts. The default is what Prometheus 3.16 accepts without feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserOptions {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// Arithmetic, `step()` and `range()` in brackets and offsets; on by default.
    pub duration_expressions: bool,
    /// `promql-binop-fill-modifiers`
    pub fill_modifiers: bool,
    /// Most nodes on a path from the root to a leaf.
    pub depth_max: u32,
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expressions: true,
            fill_modifiers: false,
            depth_max: DEPTH_MAX,
        }
    }
}

impl ParserOptions {
    /// Everything on, as the upstream test scripts want it.
    #[must_use]
    pub fn all() -> Self {
        Self {
            experimental_functions: true,
            duration_expressions: true,
            fill_modifiers: true,
            depth_max: DEPTH_MAX,
        }
    }
}

/// Why a text is not PromQL: `1:5: parse error: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The text at fault.
    pub span: Span,
    /// What is wrong with it.
    pub message: String,
    /// Line and column of the start of `span`; `None` if there is no text at all.
    pub position: Option<(usize, usize)>,
}

impl ParseError {
    fn new(text: &str, span: Span, message: impl Into<String>) -> Self {
        let position = (!text.is_empty()).then(|| line_col(text, span.start));
        Self { span, message: message.into(), position }
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
pub fn parse(text: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    let mut parser = Parser::new(text, options);
    if parser.peek()?.kind == TokenKind::End {
        return Err(ParseError::new(text, Span::default(), "no expression found in input"));
    }
    let mut expr = parser.expr(0)?;
    parser.expect_end()?;
    check::check(text, &mut expr)?;
    Ok(expr)
}

/// Parses an instant vector selector without modifiers, as `match[]` parameters hold them. The
/// matchers may all match the empty string; whether that is allowed is the caller's business.
///
/// # Errors
/// [`ParseError`] with the text of Prometheus.
pub fn parse_metric_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let mut parser = Parser::new(text, &ParserOptions::default());
    let token = parser.peek()?;
    let (selector, _) = if is_metric_name(token.kind) {
        parser.bump()?;
        parser.vector_selector(Some(token))?
    } else if token.kind == TokenKind::LeftBrace {
        parser.vector_selector(None)?
    } else {
        return Err(parser.unexpected(token));
    };
    parser.expect_end()?;
    Ok(selector.matchers)
}

/// Parses a label set such as `name{a="b"}` at the start of `text`; returns it with the number of
/// bytes that it takes.
///
/// # Errors
/// [`ParseError`] with the text of Prometheus.
pub fn parse_metric_prefix(text: &str) -> Result<(Labels, usize), ParseError> {
    let mut parser = Parser::new(text, &ParserOptions::default());
    parser.metric()
}

/// Where an unexpected token stands, and what would have been right there.
#[derive(Clone, Copy)]
struct Context {
    within: &'static str,
    expected: &'static str,
}

const fn context(within: &'static str, expected: &'static str) -> Context {
    Context { within, expected }
}

const NOWHERE: Context = context("", "");
const AGGREGATION: Context = context("aggregation", "");
const GROUPING_OPEN: Context = context("grouping opts", "\"(\"");
const GROUPING_LABEL: Context = context("grouping opts", "label");
const GROUPING_NEXT: Context = context("grouping opts", "\",\" or \")\"");
const MATCHER_START: Context = context("label matching", "identifier or \"}\"");
const MATCHER_OPERATOR: Context = context("label matching", "label matching operator");
const MATCHER_VALUE: Context = context("label matching", "string");
const MATCHER_NEXT: Context = context("label matching", "\",\" or \"}\"");
const LABEL_START: Context = context("label set", "identifier or \"}\"");
const LABEL_ASSIGN: Context = context("label set", "\"=\"");
const LABEL_VALUE: Context = context("label set", "string");
const LABEL_NEXT: Context = context("label set", "\",\" or \"}\"");
const OFFSET: Context = context("offset", "number, duration, step(), or range()");
const AT: Context = context("@", "timestamp");
const RANGE_START: Context = context("subquery or range selector", "number, duration, step(), or range()");
const RANGE_NEXT: Context = context("subquery or range", "\":\" or \"]\"");
const STEP_START: Context = context("subquery selector", "number, duration, step(), range(), or \"]\"");
const STEP_NEXT: Context = context("subquery selector", "\"]\"");

/// Operators that bind more tightly than a sign.
const ABOVE_SIGN: u8 = 6;

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    ahead: Option<Token>,
    options: ParserOptions,
    /// Where the last token that was taken ends.
    consumed: usize,
    /// The construct that an unexpected token is blamed on.
    context: Context,
    nesting: u32,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: &ParserOptions) -> Self {
        Self {
            text,
            lexer: Lexer::new(text),
            ahead: None,
            options: *options,
            consumed: 0,
            context: NOWHERE,
            nesting: 0,
        }
    }

    // Tokens.

    fn peek(&mut self) -> Parsed<Token> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next_token().map_err(|error| {
            ParseError::new(self.text, Span::new(error.start, self.text.len()), error.message)
        })?;
        Ok(*self.ahead.insert(token))
    }

    fn bump(&mut self) -> Parsed<Token> {
        let token = self.peek()?;
        self.ahead = None;
        self.consumed = token.span.end;
        Ok(token)
    }

    fn accept(&mut self, kind: TokenKind) -> Parsed<Option<Token>> {
        let token = self.peek()?;
        if token.kind == kind { self.bump().map(Some) } else { Ok(None) }
    }

    fn expect(&mut self, kind: TokenKind) -> Parsed<Token> {
        let token = self.peek()?;
        if token.kind != kind {
            return Err(self.unexpected(token));
        }
        self.bump()
    }

    fn expect_end(&mut self) -> Parsed<()> {
        self.expect(TokenKind::End).map(drop)
    }

    fn word(&self, token: Token) -> &'a str {
        &self.text[token.span.start..token.span.end]
    }

    // Errors.

    fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError::new(self.text, span, message))
    }

    fn unexpected(&self, token: Token) -> ParseError {
        self.unexpected_in(token, self.context)
    }

    fn unexpected_in(&self, token: Token, context: Context) -> ParseError {
        let mut message = format!("unexpected {}", token.describe(self.text));
        if !context.within.is_empty() {
            message.push_str(" in ");
            message.push_str(context.within);
        }
        if !context.expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(context.expected);
        }
        ParseError::new(self.text, token.span, message)
    }

    /// Runs `parse` with unexpected tokens blamed on `context`.
    fn within<T>(&mut self, context: Context, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let outer = std::mem::replace(&mut self.context, context);
        let parsed = parse(self)?;
        self.context = outer;
        Ok(parsed)
    }

    // Depth.

    fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting > self.options.depth_max {
            let start = self.peek()?.span;
            return self.too_deep(start);
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn too_deep<T>(&self, span: Span) -> Parsed<T> {
        let depth_max = self.options.depth_max;
        self.error(span, format!("expression is nested deeper than {depth_max} levels"))
    }

    fn node(&self, kind: ExprKind, span: Span) -> Parsed<Expr> {
        let expr = Expr::new(kind, span);
        if expr.depth() > self.options.depth_max {
            return self.too_deep(span);
        }
        Ok(expr)
    }

    // Expressions.

    /// An expression of operators that bind at least as tightly as `precedence_min`.
    fn expr(&mut self, precedence_min: u8) -> Parsed<Expr> {
        self.enter()?;
        let mut lhs = self.signed_expr()?;
        loop {
            let token = self.peek()?;
            let op = match token.kind {
                TokenKind::Operator(op) if op.precedence() >= precedence_min => op,
                _ => break,
            };
            self.bump()?;
            lhs = self.binary(lhs, op)?;
        }
        self.leave();
        Ok(lhs)
    }

    fn binary(&mut self, lhs: Expr, op: BinaryOp) -> Parsed<Expr> {
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let matching = self.vector_matching()?;
        let right_associative = op == BinaryOp::Pow;
        let rhs = self.expr(if right_associative { ABOVE_SIGN } else { op.precedence() + 1 })?;
        let span = lhs.span.to(rhs.span);
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.options.fill_modifiers {
            return self.error(span, "binop fill modifiers are experimental and not enabled");
        }
        self.node(
            ExprKind::Binary(Box::new(Binary { op, lhs, rhs, matching: Some(matching), return_bool })),
            span,
        )
    }

    fn vector_matching(&mut self) -> Parsed<VectorMatching> {
        let mut matching = VectorMatching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let on = self.accept(TokenKind::Keyword(Keyword::On))?.is_some();
        if on || self.accept(TokenKind::Keyword(Keyword::Ignoring))?.is_some() {
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            self.group_modifier(&mut matching)?;
        }
        self.fill_modifiers(&mut matching)?;
        Ok(matching)
    }

    fn group_modifier(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        matching.cardinality = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
            TokenKind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.bump()?;
        let next = self.peek()?.kind;
        let fill = matches!(next, TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
        // A parenthesis begins labels, never the right side.
        if next == TokenKind::LeftParen || !(starts_expr(next) || fill) {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        if self.accept(TokenKind::Keyword(Keyword::Fill))?.is_some() {
            let value = self.fill_value()?;
            matching.fill_left = Some(value);
            matching.fill_right = Some(value);
            return Ok(());
        }
        // Each side once, in either order.
        loop {
            match self.peek()?.kind {
                TokenKind::Keyword(Keyword::FillLeft) if matching.fill_left.is_none() => {
                    self.bump()?;
                    matching.fill_left = Some(self.fill_value()?);
                }
                TokenKind::Keyword(Keyword::FillRight) if matching.fill_right.is_none() => {
                    self.bump()?;
                    matching.fill_right = Some(self.fill_value()?);
                }
                _ => return Ok(()),
            }
        }
    }

    fn fill_value(&mut self) -> Parsed<FillValue> {
        self.expect(TokenKind::LeftParen)?;
        let sign = self.sign()?;
        let (number, _) = self.number()?;
        self.expect(TokenKind::RightParen)?;
        Ok(FillValue(sign.map_or(number.value, |(sign, _)| apply_sign(sign, number.value))))
    }

    /// A sign before anything but a number stays; a signed number is one number.
    fn signed_expr(&mut self) -> Parsed<Expr> {
        let Some((sign, at)) = self.sign()? else {
            return self.postfix_expr();
        };
        let operand = self.expr(ABOVE_SIGN)?;
        let span = at.to(operand.span);
        match operand.kind {
            ExprKind::Number(number) => {
                self.node(ExprKind::Number(Number { value: apply_sign(sign, number.value), ..number }), span)
            }
            _ => self.node(ExprKind::Unary(sign, Box::new(operand)), span),
        }
    }

    fn sign(&mut self) -> Parsed<Option<(UnaryOp, Span)>> {
        let token = self.peek()?;
        let sign = match token.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return Ok(None),
        };
        self.bump()?;
        Ok(Some((sign, token.span)))
    }

    /// An operand with its ranges, subqueries, offsets and `@`, which all bind most tightly.
    fn postfix_expr(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary_expr()?;
        loop {
            expr = match self.peek()?.kind {
                TokenKind::LeftBracket => self.range_or_subquery(expr)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(expr)?,
                TokenKind::At => self.at(expr)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extension(expr, RangeExtension::Anchored)?,
                TokenKind::Keyword(Keyword::Smoothed) => self.extension(expr, RangeExtension::Smoothed)?,
                _ => return Ok(expr),
            };
        }
    }

    fn primary_expr(&mut self) -> Parsed<Expr> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::LeftParen => self.paren_expr(),
            TokenKind::Number | TokenKind::Duration => {
                let (number, span) = self.number()?;
                self.node(ExprKind::Number(number), span)
            }
            TokenKind::String => {
                self.bump()?;
                let text = self.string(token)?;
                self.node(ExprKind::String(text), token.span)
            }
            TokenKind::LeftBrace => {
                let (selector, span) = self.vector_selector(None)?;
                self.node(ExprKind::Vector(Box::new(selector)), span)
            }
            kind if is_metric_name(kind) => self.name_expr(),
            _ => Err(self.unexpected(token)),
        }
    }

    fn paren_expr(&mut self) -> Parsed<Expr> {
        let open = self.bump()?;
        let expr = self.expr(0)?;
        let close = self.expect(TokenKind::RightParen)?;
        self.node(ExprKind::Paren(Box::new(expr)), open.span.to(close.span))
    }

    /// What begins with a name: a call, an aggregation or a selector, as the next token tells.
    fn name_expr(&mut self) -> Parsed<Expr> {
        let name = self.bump()?;
        let next = self.peek()?.kind;
        match (name.kind, next) {
            (TokenKind::Identifier | TokenKind::Preprocessor(_), TokenKind::LeftParen) => self.call(name),
            (
                TokenKind::Aggregate(op),
                TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without),
            ) => self.within(AGGREGATION, |parser| parser.aggregate(op, name)),
            _ => {
                let (selector, span) = self.vector_selector(Some(name))?;
                self.node(ExprKind::Vector(Box::new(selector)), span)
            }
        }
    }

    fn call(&mut self, name: Token) -> Parsed<Expr> {
        let (args, close) = self.call_body()?;
        let word = self.word(name);
        let Some(function) = Function::by_name(word) else {
            return self.error(name.span, format!("unknown function with name {}", quote(word)));
        };
        if function.is_experimental() && !self.options.experimental_functions {
            return self.error(name.span, format!("function {} is not enabled", quote(word)));
        }
        self.node(ExprKind::Call(Call { function, args }), name.span.to(close.span))
    }

    fn call_body(&mut self) -> Parsed<(Vec<Expr>, Token)> {
        self.expect(TokenKind::LeftParen)?;
        let mut args = Vec::new();
        if let Some(close) = self.accept(TokenKind::RightParen)? {
            return Ok((args, close));
        }
        loop {
            args.push(self.expr(0)?);
            let Some(comma) = self.accept(TokenKind::Comma)? else {
                return Ok((args, self.expect(TokenKind::RightParen)?));
            };
            if !starts_expr(self.peek()?.kind) {
                return self.error(comma.span, "trailing commas not allowed in function call args");
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp, name: Token) -> Parsed<Expr> {
        let before = self.grouping()?;
        let (args, close) = self.call_body()?;
        let after = if before.is_none() { self.grouping()? } else { None };
        let end = after.as_ref().map_or(close.span, |(_, span)| *span);
        let span = name.span.to(end);
        let grouping = before.or(after).map_or(Grouping::By(Vec::new()), |(grouping, _)| grouping);
        if args.is_empty() {
            return self.error(span, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return self.error(span, format!("{op}() is experimental and must be enabled with {flag}"));
        }
        let (param, expr) = self.aggregate_args(op, args, span)?;
        self.node(ExprKind::Aggregate(Box::new(Aggregate { op, expr, param, grouping })), span)
    }

    fn aggregate_args(&self, op: AggregateOp, args: Vec<Expr>, span: Span) -> Parsed<(Option<Expr>, Expr)> {
        let wanted = if op.param_type().is_some() { 2 } else { 1 };
        let given = args.len();
        let mut args = args.into_iter();
        match (args.next(), args.next(), given == wanted) {
            (Some(param), Some(expr), true) => Ok((Some(param), expr)),
            (Some(expr), None, true) => Ok((None, expr)),
            _ => self.error(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
                ),
            ),
        }
    }

    fn grouping(&mut self) -> Parsed<Option<(Grouping, Span)>> {
        let make = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::By) => Grouping::By,
            TokenKind::Keyword(Keyword::Without) => Grouping::Without,
            _ => return Ok(None),
        };
        let word = self.bump()?;
        let labels = self.grouping_labels()?;
        Ok(Some((make(labels), Span::new(word.span.start, self.consumed))))
    }

    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        self.within(GROUPING_OPEN, |parser| parser.expect(TokenKind::LeftParen))?;
        let mut labels = Vec::new();
        if self.accept(TokenKind::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.within(GROUPING_LABEL, Self::grouping_label)?);
            if self.accept(TokenKind::Comma)?.is_none() {
                self.within(GROUPING_NEXT, |parser| parser.expect(TokenKind::RightParen))?;
                return Ok(labels);
            }
            if self.accept(TokenKind::RightParen)?.is_some() {
                return Ok(labels);
            }
        }
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        let token = self.peek()?;
        let label = match token.kind {
            TokenKind::String => self.string(token)?,
            kind if is_grouping_label(kind) => self.word(token).to_owned(),
            _ => return Err(self.unexpected(token)),
        };
        if label.is_empty() {
            return self.error(token.span, format!("invalid label name for grouping: {}", quote(&label)));
        }
        self.bump()?;
        Ok(label)
    }

    // Selectors.

    fn vector_selector(&mut self, name: Option<Token>) -> Parsed<(VectorSelector, Span)> {
        let mut matchers = Vec::new();
        let mut span = name.map_or(Span::default(), |name| name.span);
        if let Some(open) = self.accept(TokenKind::LeftBrace)? {
            let close = self.matchers(&mut matchers)?;
            span = if name.is_some() { span.to(close.span) } else { open.span.to(close.span) };
        }
        let name = name.map(|name| self.word(name).to_owned());
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        let selector = VectorSelector {
            name,
            matchers,
            offset: DurationSpec::ZERO,
            at: None,
            extension: RangeExtension::None,
            may_match_everything: false,
        };
        Ok((selector, span))
    }

    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<Token> {
        if let Some(close) = self.accept(TokenKind::RightBrace)? {
            return Ok(close);
        }
        loop {
            matchers.push(self.matcher()?);
            let comma = self.accept(TokenKind::Comma)?.is_some();
            if let Some(close) = self.accept(TokenKind::RightBrace)? {
                return Ok(close);
            }
            if !comma {
                let token = self.peek()?;
                return Err(self.unexpected_in(token, MATCHER_NEXT));
            }
        }
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let name = self.peek()?;
        let quoted = match name.kind {
            TokenKind::Identifier => false,
            TokenKind::String => true,
            _ => return Err(self.unexpected_in(name, MATCHER_START)),
        };
        self.bump()?;
        let label = if quoted { self.string(name)? } else { self.word(name).to_owned() };
        let token = self.peek()?;
        let op = match token.kind {
            TokenKind::Assign => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            // A text alone is the metric name.
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, label)),
            _ => return Err(self.unexpected_in(token, MATCHER_OPERATOR)),
        };
        self.bump()?;
        let value = self.within(MATCHER_VALUE, |parser| parser.expect(TokenKind::String))?;
        let text = self.string(value)?;
        Matcher::new(label, op, text)
            .map_err(|error| ParseError::new(self.text, name.span.to(value.span), error.to_string()))
    }

    fn metric(&mut self) -> Parsed<(Labels, usize)> {
        let mut builder = LabelsBuilder::default();
        let first = self.peek()?;
        let name = is_metric_name(first.kind).then_some(first);
        let mut end = first.span.end;
        if name.is_some() {
            self.bump()?;
        }
        // Behind a bare name other languages follow, so the lexer must not look there.
        if name.is_none() || self.text[end..].starts_with('{') {
            self.within(LABEL_START, |parser| parser.expect(TokenKind::LeftBrace))?;
            end = self.label_set(&mut builder)?.span.end;
        }
        if let Some(name) = name {
            builder.set(METRIC_NAME, self.word(name));
        }
        Ok((builder.build(), end))
    }

    fn label_set(&mut self, builder: &mut LabelsBuilder) -> Parsed<Token> {
        if let Some(close) = self.accept(TokenKind::RightBrace)? {
            return Ok(close);
        }
        loop {
            self.label(builder)?;
            let comma = self.accept(TokenKind::Comma)?.is_some();
            if let Some(close) = self.accept(TokenKind::RightBrace)? {
                return Ok(close);
            }
            if !comma {
                let token = self.peek()?;
                return Err(self.unexpected_in(token, LABEL_NEXT));
            }
        }
    }

    fn label(&mut self, builder: &mut LabelsBuilder) -> Parsed<()> {
        let name = self.peek()?;
        let label = match name.kind {
            TokenKind::Identifier => self.word(name).to_owned(),
            TokenKind::String => self.string(name)?,
            _ => return Err(self.unexpected_in(name, LABEL_START)),
        };
        self.bump()?;
        if self.accept(TokenKind::Assign)?.is_none() {
            if name.kind == TokenKind::String {
                builder.set(METRIC_NAME, &label);
                return Ok(());
            }
            let token = self.peek()?;
            return Err(self.unexpected_in(token, LABEL_ASSIGN));
        }
        let value = self.within(LABEL_VALUE, |parser| parser.expect(TokenKind::String))?;
        builder.set(&label, &self.string(value)?);
        Ok(())
    }

    // Modifiers of selectors.

    fn range_or_subquery(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.bump()?;
        let range = self.within(RANGE_START, Self::positive_duration)?;
        if self.accept(TokenKind::Colon)?.is_some() {
            return self.subquery(expr, range);
        }
        let close = self.within(RANGE_NEXT, |parser| parser.expect(TokenKind::RightBracket))?;
        let refuse = |message| self.error(open.span.to(close.span), message);
        let ExprKind::Vector(selector) = expr.kind else {
            return refuse("ranges only allowed for vector selectors");
        };
        if selector.offset != DurationSpec::ZERO {
            return refuse("no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return refuse("no @ modifiers allowed before range");
        }
        let matrix = MatrixSelector { selector: *selector, selector_span: expr.span, range };
        self.node(ExprKind::Matrix(Box::new(matrix)), expr.span.to(close.span))
    }

    fn subquery(&mut self, expr: Expr, range: DurationSpec) -> Parsed<Expr> {
        let step = if self.peek()?.kind == TokenKind::RightBracket {
            None
        } else {
            Some(self.within(STEP_START, Self::positive_duration)?)
        };
        let close = self.within(STEP_NEXT, |parser| parser.expect(TokenKind::RightBracket))?;
        let span = expr.span.to(close.span);
        let subquery = Subquery { expr, range, step, offset: DurationSpec::ZERO, at: None };
        self.node(ExprKind::Subquery(Box::new(subquery)), span)
    }

    fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.bump()?;
        let duration = self.within(OFFSET, Self::offset_duration)?;
        let end = self.consumed;
        let span = expr.span;
        let Some((offset, _)) = modifiers(&mut expr.kind) else {
            return self.error(
                span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if *offset != DurationSpec::ZERO {
            return self.error(span, "offset may not be set multiple times");
        }
        *offset = spec(duration);
        expr.span.end = end;
        Ok(expr)
    }

    fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.bump()?;
        let span = expr.span;
        let (value, end) = self.within(AT, |parser| parser.at_value(span))?;
        let Some((_, at)) = modifiers(&mut expr.kind) else {
            return self.error(
                span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if at.is_some() {
            return self.error(span, "@ <timestamp> may not be set multiple times");
        }
        *at = Some(value);
        expr.span.end = end;
        Ok(expr)
    }

    fn at_value(&mut self, selector: Span) -> Parsed<(At, usize)> {
        let value = match self.peek()?.kind {
            TokenKind::Preprocessor(Preprocessor::Start) => At::Start,
            TokenKind::Preprocessor(Preprocessor::End) => At::End,
            _ => return self.at_timestamp(selector),
        };
        self.bump()?;
        self.expect(TokenKind::LeftParen)?;
        let close = self.expect(TokenKind::RightParen)?;
        Ok((value, close.span.end))
    }

    fn at_timestamp(&mut self, selector: Span) -> Parsed<(At, usize)> {
        let sign = self.sign()?.map_or(UnaryOp::Plus, |(sign, _)| sign);
        let (number, span) = self.number()?;
        let seconds = apply_sign(sign, number.value);
        // 2^63, the first that i64 does not hold.
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        if seconds.is_nan() || seconds.abs() >= BOUND {
            let shown = go::format_fixed(seconds);
            return self.error(selector, format!("timestamp out of bounds for @ modifier: {shown}"));
        }
        Ok((At::Timestamp((seconds * 1000.0).round() as i64), span.end))
    }

    fn extension(&mut self, mut expr: Expr, extension: RangeExtension) -> Parsed<Expr> {
        self.bump()?;
        let word = if extension == RangeExtension::Anchored { "anchored" } else { "smoothed" };
        let selector = match &mut expr.kind {
            ExprKind::Vector(selector) => selector,
            ExprKind::Matrix(matrix) => &mut matrix.selector,
            ExprKind::Subquery(_) => {
                return self.error(expr.span, format!("{word} modifier is not supported for subqueries"));
            }
            _ => return self.error(expr.span, format!("{word} modifier not implemented")),
        };
        if selector.extension != RangeExtension::None && selector.extension != extension {
            return self.error(expr.span, "anchored and smoothed modifiers cannot be used together");
        }
        selector.extension = extension;
        Ok(expr)
    }

    // Durations.

    fn positive_duration(&mut self) -> Parsed<DurationSpec> {
        let duration = self.duration_expr(0)?;
        if let DurationTerm::Number(number) = &duration.term
            && number.value <= 0.0
        {
            return self.error(duration.span, "duration must be greater than 0");
        }
        Ok(spec(duration))
    }

    /// A duration behind `offset`. Operators belong to it only behind a parenthesis or a second sign:
    /// upstream reads `x offset 5m * 2` as `(x offset 5m) * 2`, but `x offset (5m) * 2` as
    /// `x offset ((5m) * 2)`.
    fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        let Some((sign, at)) = self.sign()? else {
            if self.peek()?.kind != TokenKind::LeftParen {
                return self.duration_operand();
            }
            let duration = self.duration_expr(0)?;
            return Ok(keep_operator(duration));
        };
        match self.peek()?.kind {
            TokenKind::Number | TokenKind::Duration => {
                let (number, span) = self.number()?;
                if out_of_range(number.value) {
                    return self.error(at, "duration out of range");
                }
                self.apply_duration_sign(sign, at, DurationExpr { term: DurationTerm::Number(number), span })
            }
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let operand = self.duration_expr(ABOVE_SIGN)?;
                let operand = self.apply_duration_sign(sign, at, operand)?;
                Ok(keep_operator(self.duration_operators(operand, 0)?))
            }
            _ => {
                let operand = self.duration_operand()?;
                self.apply_duration_sign(sign, at, operand)
            }
        }
    }

    fn duration_expr(&mut self, precedence_min: u8) -> Parsed<DurationExpr> {
        self.enter()?;
        let lhs = match self.sign()? {
            Some((sign, at)) => {
                let operand = self.duration_expr(ABOVE_SIGN)?;
                self.apply_duration_sign(sign, at, operand)?
            }
            None => self.duration_operand()?,
        };
        let expr = self.duration_operators(lhs, precedence_min)?;
        self.leave();
        Ok(expr)
    }

    fn duration_operators(&mut self, mut lhs: DurationExpr, precedence_min: u8) -> Parsed<DurationExpr> {
        loop {
            let token = self.peek()?;
            let Some((op, precedence)) = duration_op(token.kind).filter(|(_, p)| *p >= precedence_min) else {
                return Ok(lhs);
            };
            self.bump()?;
            let rhs = self.duration_expr(if op == DurationOp::Pow { precedence } else { precedence + 1 })?;
            self.computed(lhs.span)?;
            let zero = matches!(&rhs.term, DurationTerm::Number(number) if number.value == 0.0);
            match op {
                DurationOp::Div if zero => return self.error(token.span, "division by zero"),
                DurationOp::Mod if zero => return self.error(token.span, "modulo by zero"),
                _ => {}
            }
            let span = lhs.span.to(rhs.span);
            lhs = DurationExpr { term: DurationTerm::Binary(op, Box::new(lhs), Box::new(rhs)), span };
            if lhs.depth() > self.options.depth_max {
                return self.too_deep(span);
            }
        }
    }

    fn duration_operand(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let (number, span) = self.number()?;
                if out_of_range(number.value) {
                    return self.error(span, "duration out of range");
                }
                Ok(DurationExpr { term: DurationTerm::Number(number), span })
            }
            TokenKind::Preprocessor(Preprocessor::Step) => self.duration_of_query(DurationTerm::Step),
            TokenKind::Preprocessor(Preprocessor::Range) => self.duration_of_query(DurationTerm::Range),
            TokenKind::Preprocessor(Preprocessor::MinOf) => self.duration_choice(DurationTerm::MinOf),
            TokenKind::Preprocessor(Preprocessor::MaxOf) => self.duration_choice(DurationTerm::MaxOf),
            TokenKind::LeftParen => {
                self.bump()?;
                let inner = self.duration_expr(0)?;
                self.expect(TokenKind::RightParen)?;
                self.computed(inner.span)?;
                Ok(wrap(inner, token.span))
            }
            _ => Err(self.unexpected(token)),
        }
    }

    fn duration_of_query(&mut self, term: DurationTerm) -> Parsed<DurationExpr> {
        let name = self.bump()?;
        self.expect(TokenKind::LeftParen)?;
        let close = self.expect(TokenKind::RightParen)?;
        let span = name.span.to(close.span);
        self.computed(span)?;
        Ok(DurationExpr { term, span })
    }

    fn duration_choice(
        &mut self,
        make: impl FnOnce(Box<DurationExpr>, Box<DurationExpr>) -> DurationTerm,
    ) -> Parsed<DurationExpr> {
        let name = self.bump()?;
        self.expect(TokenKind::LeftParen)?;
        let lhs = self.duration_expr(0)?;
        self.expect(TokenKind::Comma)?;
        let rhs = self.duration_expr(0)?;
        let close = self.expect(TokenKind::RightParen)?;
        let span = name.span.to(close.span);
        self.computed(span)?;
        Ok(DurationExpr { term: make(Box::new(lhs), Box::new(rhs)), span })
    }

    /// A signed number is one number; a plus before anything else says nothing.
    fn apply_duration_sign(&self, sign: UnaryOp, at: Span, operand: DurationExpr) -> Parsed<DurationExpr> {
        let span = at.to(operand.span);
        let term = match (sign, operand.term) {
            (sign, DurationTerm::Number(number)) => {
                DurationTerm::Number(Number { value: apply_sign(sign, number.value), ..number })
            }
            (UnaryOp::Plus, term) => return Ok(DurationExpr { term, span: operand.span }),
            (UnaryOp::Minus, term) => {
                DurationTerm::Minus(Box::new(DurationExpr { term, span: operand.span }))
            }
        };
        Ok(DurationExpr { term, span })
    }

    fn computed(&self, span: Span) -> Parsed<()> {
        if self.options.duration_expressions {
            return Ok(());
        }
        self.error(span, "experimental duration expression is not enabled")
    }

    // Literals.

    fn number(&mut self) -> Parsed<(Number, Span)> {
        let token = self.peek()?;
        let word = self.word(token);
        let number = match token.kind {
            TokenKind::Number => match parse_number(word) {
                Ok(value) => Number { value, is_duration: false },
                Err(why) => return self.error(token.span, format!("error parsing number: {why}")),
            },
            TokenKind::Duration => match parse_duration(word) {
                Ok(ms) => Number { value: ms as f64 / 1000.0, is_duration: true },
                Err(why) => return self.error(token.span, why.to_string()),
            },
            _ => return Err(self.unexpected(token)),
        };
        self.bump()?;
        Ok((number, token.span))
    }

    fn string(&self, token: Token) -> Parsed<String> {
        let word = self.word(token);
        unquote(word)
            .or_else(|why| self.error(token.span, format!("error unquoting string {}: {why}", quote(word))))
    }
}

/// Where offset and `@` of a selector or subquery are kept.
fn modifiers(kind: &mut ExprKind) -> Option<(&mut DurationSpec, &mut Option<At>)> {
    match kind {
        ExprKind::Vector(selector) => Some((&mut selector.offset, &mut selector.at)),
        ExprKind::Matrix(matrix) => Some((&mut matrix.selector.offset, &mut matrix.selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

fn spec(duration: DurationExpr) -> DurationSpec {
    match duration.term {
        DurationTerm::Number(number) => DurationSpec::Fixed(seconds_to_millis(number.value)),
        _ => DurationSpec::Computed(Box::new(duration)),
    }
}

/// Parentheses around parentheses count once. A number in them is computed with the query, so that
/// `[(0)]` is refused when it runs.
///
/// Errors of durations name places as upstream does: without the parentheses, but from the opening one
/// to the end of the number if there is only a number between them.
fn wrap(inner: DurationExpr, open: Span) -> DurationExpr {
    let span = match inner.term {
        DurationTerm::Paren(_) => return inner,
        DurationTerm::Number(_) => open.to(inner.span),
        _ => inner.span,
    };
    DurationExpr { term: DurationTerm::Paren(Box::new(inner)), span }
}

/// Parentheses keep the operator in the offset when it is printed; upstream's print loses it.
fn keep_operator(duration: DurationExpr) -> DurationExpr {
    let span = duration.span;
    if matches!(duration.term, DurationTerm::Binary(..)) { wrap(duration, span) } else { duration }
}

fn duration_op(kind: TokenKind) -> Option<(DurationOp, u8)> {
    let TokenKind::Operator(op) = kind else {
        return None;
    };
    let duration_op = match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    };
    Some((duration_op, op.precedence()))
}

/// Words that may name a metric.
fn is_metric_name(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Preprocessor(_)
        | TokenKind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) => true,
        TokenKind::Keyword(keyword) => !matches!(
            keyword,
            Keyword::Bool | Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight
        ),
        _ => false,
    }
}

/// Words that may name a label in `by (...)` and its relatives; upstream leaves out `without`.
fn is_grouping_label(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Preprocessor(_)
        | TokenKind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2) => true,
        TokenKind::Keyword(keyword) => keyword != Keyword::Without,
        _ => false,
    }
}

fn starts_expr(kind: TokenKind) -> bool {
    is_metric_name(kind)
        || matches!(
            kind,
            TokenKind::LeftParen
                | TokenKind::LeftBrace
                | TokenKind::Number
                | TokenKind::Duration
                | TokenKind::String
                | TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub)
        )
}

#[cfg(test)]
mod tests;
