//! Selectors of series, and label sets as scripts and remote texts write them.

use promontory_model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use promontory_model::re2::Re2;
use promontory_model::{MatchOp, Matcher};

use super::regexes::Refusal;

use super::tokens::{
    LABEL_ASSIGN, LABEL_NEXT, LABEL_START, LABEL_VALUE, MATCHER_NEXT, MATCHER_OPERATOR, MATCHER_START,
    MATCHER_VALUE, is_metric_name,
};
use super::{ParseError, Parsed, Parser};
use crate::ast::{DurationSpec, Operator, RangeExtension, Span, VectorSelector};
use crate::kernels::BinaryOp;
use crate::lexer::{Token, TokenKind};

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self, name: Option<Token>) -> Parsed<(VectorSelector, Span)> {
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
            TokenKind::Operator(Operator::Value(BinaryOp::NotEqual)) => MatchOp::NotEqual,
            TokenKind::MatchRegex => MatchOp::Regex,
            TokenKind::MatchNotRegex => MatchOp::NotRegex,
            // A text alone is the metric name.
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, label)),
            _ => return Err(self.unexpected_in(token, MATCHER_OPERATOR)),
        };
        self.bump()?;
        let value = self.within(MATCHER_VALUE, |parser| parser.expect(TokenKind::String))?;
        let text = self.string(value)?;
        let span = name.span.to(value.span);
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            return Ok(Matcher::compiled(label, op, self.regex(&text, span)?));
        }
        Matcher::new(label, op, text).map_err(|error| ParseError::new(self.text, span, error.to_string()))
    }

    fn regex(&mut self, pattern: &str, span: Span) -> Parsed<Re2> {
        self.regexes.compile(pattern, self.settings.regex_bytes_max).map_err(|refusal| match refusal {
            Refusal::Wrong(why) => ParseError::new(self.text, span, why),
            Refusal::TooMuch(why) => ParseError { over_limit: true, ..ParseError::new(self.text, span, why) },
        })
    }

    pub(super) fn metric(&mut self) -> Parsed<(Labels, usize)> {
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
}
