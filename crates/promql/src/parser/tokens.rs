//! Tokens one by one, what is said of one that is not expected, and the bound of the depth.
//!
//! Words:
//! - *context*: the innermost construct that names itself in an error (`in label matching, expected
//!   ...`). Upstream's grammar has a rule for such errors in a few places only, and an error inside a
//!   nested expression belongs to the next such place outwards.

use crate::ast::{Expr, ExprKind, Operator, Span};
use crate::kernels::BinaryOp;
use crate::lexer::{Keyword, Token, TokenKind};

use super::{ParseError, Parsed, Parser};

/// Where an unexpected token stands, and what would have been right there.
#[derive(Clone, Copy)]
pub(super) struct Context {
    within: &'static str,
    expected: &'static str,
}

pub(super) const NOWHERE: Context = context("", "");
pub(super) const AGGREGATION: Context = context("aggregation", "");
pub(super) const GROUPING_OPEN: Context = context("grouping opts", "\"(\"");
pub(super) const GROUPING_LABEL: Context = context("grouping opts", "label");
pub(super) const GROUPING_NEXT: Context = context("grouping opts", "\",\" or \")\"");
pub(super) const MATCHER_START: Context = context("label matching", "identifier or \"}\"");
pub(super) const MATCHER_OPERATOR: Context = context("label matching", "label matching operator");
pub(super) const MATCHER_VALUE: Context = context("label matching", "string");
pub(super) const MATCHER_NEXT: Context = context("label matching", "\",\" or \"}\"");
pub(super) const LABEL_START: Context = context("label set", "identifier or \"}\"");
pub(super) const LABEL_ASSIGN: Context = context("label set", "\"=\"");
pub(super) const LABEL_VALUE: Context = context("label set", "string");
pub(super) const LABEL_NEXT: Context = context("label set", "\",\" or \"}\"");
pub(super) const OFFSET: Context = context("offset", "number, duration, step(), or range()");
pub(super) const AT: Context = context("@", "timestamp");
pub(super) const RANGE_START: Context =
    context("subquery or range selector", "number, duration, step(), or range()");
pub(super) const RANGE_NEXT: Context = context("subquery or range", "\":\" or \"]\"");
pub(super) const STEP_START: Context =
    context("subquery selector", "number, duration, step(), range(), or \"]\"");
pub(super) const STEP_NEXT: Context = context("subquery selector", "\"]\"");

const fn context(within: &'static str, expected: &'static str) -> Context {
    Context { within, expected }
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&mut self) -> Parsed<Token> {
        if let Some(token) = self.ahead {
            return Ok(token);
        }
        let token = self.lexer.next_token().map_err(|error| {
            ParseError::new(self.text, Span::new(error.start, self.text.len()), error.message)
        })?;
        Ok(*self.ahead.insert(token))
    }

    pub(super) fn bump(&mut self) -> Parsed<Token> {
        let token = self.peek()?;
        self.ahead = None;
        self.consumed = token.span.end;
        Ok(token)
    }

    pub(super) fn accept(&mut self, kind: TokenKind) -> Parsed<Option<Token>> {
        let token = self.peek()?;
        if token.kind == kind { self.bump().map(Some) } else { Ok(None) }
    }

    pub(super) fn expect(&mut self, kind: TokenKind) -> Parsed<Token> {
        let token = self.peek()?;
        if token.kind != kind {
            return Err(self.unexpected(token));
        }
        self.bump()
    }

    pub(super) fn expect_end(&mut self) -> Parsed<()> {
        self.expect(TokenKind::End).map(drop)
    }

    pub(super) fn word(&self, token: Token) -> &'a str {
        &self.text[token.span.start..token.span.end]
    }

    pub(super) fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError::new(self.text, span, message))
    }

    pub(super) fn unexpected(&self, token: Token) -> ParseError {
        self.unexpected_in(token, self.context)
    }

    pub(super) fn unexpected_in(&self, token: Token, context: Context) -> ParseError {
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
    pub(super) fn within<T>(
        &mut self,
        context: Context,
        parse: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<T> {
        let outer = std::mem::replace(&mut self.context, context);
        let parsed = parse(self)?;
        self.context = outer;
        Ok(parsed)
    }

    pub(super) fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting > self.settings.nesting_max {
            let start = self.peek()?.span;
            return self.too_deep(start);
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.nesting -= 1;
    }

    pub(super) fn too_deep<T>(&self, span: Span) -> Parsed<T> {
        let nesting_max = self.settings.nesting_max;
        self.error(span, format!("expression is nested deeper than {nesting_max} levels"))
    }

    pub(super) fn node(&self, kind: ExprKind, span: Span) -> Parsed<Expr> {
        let expr = Expr::new(kind, span);
        let depth_max = self.settings.depth_max;
        if expr.depth() > depth_max {
            return self.error(
                span,
                format!("expression has more than {depth_max} operators on one path, nested or in a row"),
            );
        }
        Ok(expr)
    }
}

/// Words that may name a metric.
pub(super) fn is_metric_name(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Preprocessor(_)
        | TokenKind::Operator(Operator::Set(_)) => true,
        TokenKind::Keyword(keyword) => !matches!(
            keyword,
            Keyword::Bool | Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight
        ),
        _ => false,
    }
}

/// Words that may name a label in `by (...)` and its relatives; upstream leaves out `without`.
pub(super) fn is_grouping_label(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Identifier
        | TokenKind::MetricIdentifier
        | TokenKind::Aggregate(_)
        | TokenKind::Preprocessor(_)
        | TokenKind::Operator(Operator::Set(_) | Operator::Value(BinaryOp::Atan2)) => true,
        TokenKind::Keyword(keyword) => keyword != Keyword::Without,
        _ => false,
    }
}

pub(super) fn starts_expr(kind: TokenKind) -> bool {
    is_metric_name(kind)
        || matches!(
            kind,
            TokenKind::LeftParen
                | TokenKind::LeftBrace
                | TokenKind::Number
                | TokenKind::Duration
                | TokenKind::String
                | TokenKind::Operator(Operator::Value(BinaryOp::Add | BinaryOp::Sub))
        )
}
