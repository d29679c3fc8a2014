//! What follows a selector or subquery: ranges, offsets, `@`, `anchored` and `smoothed`.

use super::duration::spec;
use super::tokens::{AT, OFFSET, RANGE_NEXT, RANGE_START, STEP_NEXT, STEP_START};
use super::{Parsed, Parser};
use crate::ast::{At, DurationSpec, Expr, ExprKind, MatrixSelector, RangeExtension, Span, Subquery, UnaryOp};
use crate::duration::apply_sign;
use crate::go::format_fixed;
use crate::lexer::{Preprocessor, TokenKind};

impl Parser<'_> {
    pub(super) fn range_or_subquery(&mut self, expr: Expr) -> Parsed<Expr> {
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

    pub(super) fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
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

    pub(super) fn at(&mut self, mut expr: Expr) -> Parsed<Expr> {
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
            let shown = format_fixed(seconds);
            return self.error(selector, format!("timestamp out of bounds for @ modifier: {shown}"));
        }
        Ok((At::Timestamp((seconds * 1000.0).round() as i64), span.end))
    }

    pub(super) fn extension(&mut self, mut expr: Expr, extension: RangeExtension) -> Parsed<Expr> {
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
