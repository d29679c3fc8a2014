//! Expressions: operators with their modifiers, operands, calls and aggregations.

use promontory_model::labels::quote;

use super::tokens::{
    AGGREGATION, GROUPING_LABEL, GROUPING_NEXT, GROUPING_OPEN, is_grouping_label, is_metric_name, starts_expr,
};
use super::{ABOVE_SIGN, Parsed, Parser};
use crate::ast::{
    Aggregate, Binary, Call, Cardinality, Expr, ExprKind, FillValue, Grouping, Number, Operator,
    RangeExtension, Span, UnaryOp, VectorMatching,
};
use crate::duration::apply_sign;
use crate::functions::{Aggregation, Function, Property};
use crate::kernels::BinaryOp;
use crate::lexer::{Keyword, Token, TokenKind};

impl Parser<'_> {
    /// An expression of operators that bind at least as tightly as `precedence_min`.
    pub(super) fn expr(&mut self, precedence_min: u8) -> Parsed<Expr> {
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

    fn binary(&mut self, lhs: Expr, op: Operator) -> Parsed<Expr> {
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let matching = self.vector_matching()?;
        let right_associative = op == Operator::Value(BinaryOp::Pow);
        let rhs = self.expr(if right_associative { ABOVE_SIGN } else { op.precedence() + 1 })?;
        let span = lhs.span.to(rhs.span);
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.settings.fill_modifiers {
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

    pub(super) fn sign(&mut self) -> Parsed<Option<(UnaryOp, Span)>> {
        let token = self.peek()?;
        let sign = match token.kind {
            TokenKind::Operator(Operator::Value(BinaryOp::Add)) => UnaryOp::Plus,
            TokenKind::Operator(Operator::Value(BinaryOp::Sub)) => UnaryOp::Minus,
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
        if function.has(Property::Experimental) && !self.settings.experimental_functions {
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

    fn aggregate(&mut self, op: &'static Aggregation, name: Token) -> Parsed<Expr> {
        let before = self.grouping()?;
        let (args, close) = self.call_body()?;
        let after = if before.is_none() { self.grouping()? } else { None };
        let end = after.as_ref().map_or(close.span, |(_, span)| *span);
        let span = name.span.to(end);
        let grouping = before.or(after).map_or(Grouping::By(Vec::new()), |(grouping, _)| grouping);
        if args.is_empty() {
            return self.error(span, "no arguments for aggregate expression provided");
        }
        if op.has(Property::Experimental) && !self.settings.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return self.error(span, format!("{op}() is experimental and must be enabled with {flag}"));
        }
        let (param, expr) = self.aggregate_args(op, args, span)?;
        self.node(ExprKind::Aggregate(Box::new(Aggregate { op, expr, param, grouping })), span)
    }

    fn aggregate_args(
        &self,
        op: &'static Aggregation,
        args: Vec<Expr>,
        span: Span,
    ) -> Parsed<(Option<Expr>, Expr)> {
        let wanted = if op.param.is_some() { 2 } else { 1 };
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
}
