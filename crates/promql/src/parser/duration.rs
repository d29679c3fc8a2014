//! Durations in brackets and behind `offset`, which may be computed.

use super::{ABOVE_SIGN, Parsed, Parser};
use crate::ast::{DurationExpr, DurationOp, DurationSpec, DurationTerm, Number, Operator, Span, UnaryOp};
use crate::duration::{apply_sign, out_of_range, seconds_to_millis};
use crate::kernels::BinaryOp;
use crate::lexer::{Preprocessor, TokenKind};

impl Parser<'_> {
    pub(super) fn positive_duration(&mut self) -> Parsed<DurationSpec> {
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
    pub(super) fn offset_duration(&mut self) -> Parsed<DurationExpr> {
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
            TokenKind::Operator(Operator::Value(BinaryOp::Add | BinaryOp::Sub)) => {
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
            if lhs.depth() > self.settings.nesting_max {
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
        if self.settings.duration_expressions {
            return Ok(());
        }
        self.error(span, "experimental duration expression is not enabled")
    }
}

pub(super) fn spec(duration: DurationExpr) -> DurationSpec {
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
    let TokenKind::Operator(Operator::Value(op)) = kind else {
        return None;
    };
    let duration_op = DurationOp::ALL.into_iter().find(|each| each.on_floats() == op)?;
    Some((duration_op, Operator::Value(op).precedence()))
}
