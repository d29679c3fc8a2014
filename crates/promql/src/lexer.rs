//! Cuts a PromQL text into tokens, on demand, with the words and places of Prometheus' errors.
//!
//! The grammar of tokens depends on where they stand: inside braces keywords are plain names, inside
//! brackets only durations may stand, elsewhere keywords count in any case of letters. The lexer
//! therefore is a small state machine, as upstream's.
//!
//! Invariants:
//! - Tokens come in the order of the text and do not overlap; comments and spaces yield none.
//! - After the end or an error only [`TokenKind::End`] comes.
//! - Nothing is copied: a token is a kind and a place.
//!
//! Source: prometheus v3.16 `promql/parser/lex.go`.

use promontory_model::labels::quote;

use crate::ast::{Operator, SetOp, Span, TrimOp};
use crate::functions::Aggregation;
use crate::kernels::BinaryOp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    End,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    /// `:` between range and step of a subquery.
    Colon,
    Assign,
    MatchRegex,
    MatchNotRegex,
    At,
    /// A binary operator; `+` and `-` are also signs, `!=` is also a matcher.
    Operator(Operator),
    /// A name without a colon.
    Identifier,
    /// A name with a colon.
    MetricIdentifier,
    /// A number, `inf` and `nan` included.
    Number,
    Duration,
    String,
    Aggregate(&'static Aggregation),
    Keyword(Keyword),
    /// A word that is a keyword in some places and a function in others.
    Preprocessor(Preprocessor),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
}

/// A word that is a keyword in some places and a function in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A piece of the text with its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub kind: TokenKind,
    pub span: Span,
}

/// A text that cannot be cut into tokens; the place runs from the bad token to the end of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexError {
    /// Where the bad token starts.
    pub start: usize,
    pub message: String,
}

/// What is lexed next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Statements,
    /// Just behind `[`, until the first number or duration.
    DurationExpr,
    Done,
}

#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    /// Where the next character is read.
    pos: usize,
    /// Where the current token began.
    start: usize,
    state: State,
    paren_depth: usize,
    brace_open: bool,
    bracket_open: bool,
    got_colon: bool,
    got_duration: bool,
}

type Lexed = Result<TokenKind, String>;

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            pos: 0,
            start: 0,
            state: State::Statements,
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
        }
    }

    /// The next token.
    ///
    /// # Errors
    /// [`LexError`]; after it the text counts as ended.
    pub fn next_token(&mut self) -> Result<Token, LexError> {
        self.skip_spaces_and_comments();
        self.start = self.pos;
        let kind = match self.state {
            State::Done => Ok(TokenKind::End),
            State::DurationExpr => self.duration_expr(),
            State::Statements if self.brace_open => self.inside_braces(),
            State::Statements => self.statements(),
        };
        match kind {
            Ok(kind) => {
                if kind == TokenKind::End {
                    self.state = State::Done;
                }
                Ok(Token { kind, span: Span::new(self.start, self.pos) })
            }
            Err(message) => {
                self.state = State::Done;
                Err(LexError { start: self.start, message })
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let yes = self.peek().is_some_and(wanted);
        if yes {
            self.bump();
        }
        yes
    }

    fn accept_run(&mut self, wanted: impl Fn(char) -> bool + Copy) {
        while self.accept(wanted) {}
    }

    fn word(&self) -> &'a str {
        &self.text[self.start..self.pos]
    }

    /// Comments start wherever a token could, except among the durations behind a bracket.
    fn skip_spaces_and_comments(&mut self) {
        loop {
            self.accept_run(is_space);
            if self.state != State::Statements || self.peek() != Some('#') {
                return;
            }
            self.accept_run(|c| c != '\n' && c != '\r');
        }
    }

    fn statements(&mut self) -> Lexed {
        use TokenKind as T;
        let Some(c) = self.bump() else {
            return match (self.paren_depth, self.bracket_open) {
                (0, false) => Ok(T::End),
                (0, true) => Err("unclosed left bracket".to_owned()),
                _ => Err("unclosed left parenthesis".to_owned()),
            };
        };
        let operator = |op: BinaryOp| Ok(T::Operator(op.into()));
        match c {
            ',' => Ok(T::Comma),
            '*' => operator(BinaryOp::Mul),
            '/' => operator(BinaryOp::Div),
            '%' => operator(BinaryOp::Mod),
            '+' => operator(BinaryOp::Add),
            '-' => operator(BinaryOp::Sub),
            '^' => operator(BinaryOp::Pow),
            '=' if self.accept(|c| c == '=') => operator(BinaryOp::Equal),
            '=' if self.peek() == Some('~') => Err("unexpected character after '=': '~'".to_owned()),
            '=' => Ok(T::Assign),
            '!' if self.accept(|c| c == '=') => operator(BinaryOp::NotEqual),
            '!' => Err(format!("unexpected character after '!': {}", quote_char(self.bump()))),
            '<' if self.accept(|c| c == '=') => operator(BinaryOp::LessOrEqual),
            '<' if self.accept(|c| c == '/') => Ok(T::Operator(Operator::Trim(TrimOp::Upper))),
            '<' => operator(BinaryOp::Less),
            '>' if self.accept(|c| c == '=') => operator(BinaryOp::GreaterOrEqual),
            '>' if self.accept(|c| c == '/') => Ok(T::Operator(Operator::Trim(TrimOp::Lower))),
            '>' => operator(BinaryOp::Greater),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '(' => self.left_paren(),
            ')' => self.right_paren(),
            '{' => {
                self.brace_open = true;
                Ok(T::LeftBrace)
            }
            '[' => self.left_bracket(),
            ']' if self.bracket_open => {
                self.bracket_open = false;
                Ok(T::RightBracket)
            }
            ']' => Err("unexpected right bracket ']'".to_owned()),
            '@' => Ok(T::At),
            c if self.starts_number(c) => self.number_or_duration(),
            c if (is_alpha(c) || c == ':') && self.bracket_open => self.word_in_brackets(c),
            c if is_alpha(c) || c == ':' => Ok(self.keyword_or_identifier()),
            c => Err(format!("unexpected character: {}", quote_char(Some(c)))),
        }
    }

    /// True if the character just read begins a number; it is given back.
    fn starts_number(&mut self, c: char) -> bool {
        let yes = c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|c| c.is_ascii_digit()));
        if yes {
            self.pos = self.start;
        }
        yes
    }

    fn left_paren(&mut self) -> Lexed {
        self.paren_depth += 1;
        Ok(TokenKind::LeftParen)
    }

    fn right_paren(&mut self) -> Lexed {
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                Ok(TokenKind::RightParen)
            }
            None => {
                // Upstream has taken the parenthesis when it notices.
                self.start = self.pos;
                Err("unexpected right parenthesis ')'".to_owned())
            }
        }
    }

    fn left_bracket(&mut self) -> Lexed {
        if self.bracket_open {
            return Err("unexpected left bracket '['".to_owned());
        }
        self.got_colon = false;
        self.got_duration = false;
        self.bracket_open = true;
        self.state = State::DurationExpr;
        Ok(TokenKind::LeftBracket)
    }

    fn word_in_brackets(&mut self, c: char) -> Lexed {
        if c == ':' {
            if self.got_colon {
                return Err("unexpected colon ':'".to_owned());
            }
            self.got_colon = true;
            return Ok(TokenKind::Colon);
        }
        self.duration_word(c).ok_or_else(|| {
            format!("unexpected character: {}, expected {}", quote_char(Some(c)), quote_char(Some(':')))
        })
    }

    /// `step`, `range`, `max_of`, `min_of`; anything else has been read up to its end.
    fn duration_word(&mut self, first: char) -> Option<TokenKind> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.accept_run(is_alpha);
        let word = match self.word().to_ascii_lowercase().as_str() {
            "step" => Preprocessor::Step,
            "range" => Preprocessor::Range,
            "max_of" => Preprocessor::MaxOf,
            "min_of" => Preprocessor::MinOf,
            _ => return None,
        };
        Some(TokenKind::Preprocessor(word))
    }

    fn duration_expr(&mut self) -> Lexed {
        use TokenKind as T;
        let Some(c) = self.bump() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        let operator = |op: BinaryOp| Ok(T::Operator(op.into()));
        match c {
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.state = State::Statements;
                Ok(T::RightBracket)
            }
            ':' if !self.got_duration => self.misplaced_colon("before duration in duration expression"),
            ':' if self.got_colon => self.misplaced_colon("in duration expression"),
            ':' => {
                self.got_colon = true;
                Ok(T::Colon)
            }
            '(' => self.left_paren(),
            ')' => self.right_paren(),
            '+' => operator(BinaryOp::Add),
            '-' => operator(BinaryOp::Sub),
            '*' => operator(BinaryOp::Mul),
            '/' => operator(BinaryOp::Div),
            '%' => operator(BinaryOp::Mod),
            '^' => operator(BinaryOp::Pow),
            ',' => Ok(T::Comma),
            c if self.starts_number(c) => {
                self.got_duration = true;
                self.state = State::Statements;
                self.number_or_duration()
            }
            c => {
                let word = self.duration_word(c).ok_or_else(|| {
                    format!("unexpected character in duration expression: {}", quote_char(Some(c)))
                })?;
                self.got_duration = true;
                Ok(word)
            }
        }
    }

    fn misplaced_colon(&mut self, place: &str) -> Lexed {
        self.start = self.pos;
        let how = if self.got_duration { "repeated colon" } else { "colon" };
        Err(format!("unexpected {how} {place}"))
    }

    fn inside_braces(&mut self) -> Lexed {
        use TokenKind as T;
        let Some(c) = self.bump() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            ',' => Ok(T::Comma),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '=' if self.accept(|c| c == '~') => Ok(T::MatchRegex),
            '=' => Ok(T::Assign),
            '!' if self.accept(|c| c == '~') => Ok(T::MatchNotRegex),
            '!' if self.accept(|c| c == '=') => Ok(T::Operator(BinaryOp::NotEqual.into())),
            '!' => Err(format!("unexpected character after '!' inside braces: {}", quote_char(self.bump()))),
            '{' => Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.brace_open = false;
                Ok(T::RightBrace)
            }
            c if is_alpha(c) => {
                self.accept_run(is_alphanumeric);
                Ok(T::Identifier)
            }
            c => Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        }
    }

    fn string(&mut self, quotes: char) -> Lexed {
        loop {
            match self.bump() {
                None | Some('\n') => return Err("unterminated quoted string".to_owned()),
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                Some('\\') => self.escape(quotes)?,
                Some(c) if c == quotes => return Ok(TokenKind::String),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Lexed {
        loop {
            match self.bump() {
                None => return Err("unterminated raw string".to_owned()),
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".to_owned()),
                Some('`') => return Ok(TokenKind::String),
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quotes: char) -> Result<(), String> {
        let unterminated = || "escape sequence not terminated".to_owned();
        let c = self.bump().ok_or_else(unterminated)?;
        let (digits, base, max, mut value) = match c {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == quotes => return Ok(()),
            '0'..='7' => (2, 8, 255, c as u32 - '0' as u32),
            'x' => (2, 16, 255, 0),
            'u' => (4, 16, char::MAX as u32, 0),
            'U' => (8, 16, char::MAX as u32, 0),
            c => return Err(format!("unknown escape sequence {}", unicode_notation(c))),
        };
        for _ in 0..digits {
            let c = self.bump().ok_or_else(unterminated)?;
            let digit = c
                .to_digit(base)
                .ok_or_else(|| format!("illegal character {} in escape sequence", unicode_notation(c)))?;
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xD800..0xE000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    fn number_or_duration(&mut self) -> Lexed {
        if self.scan_number() {
            return Ok(TokenKind::Number);
        }
        if self.accept_rest_of_duration() {
            return Ok(TokenKind::Duration);
        }
        Err(format!("bad number or duration syntax: {}", quote(self.word())))
    }

    /// Scans what looks like a number; the parser finds out whether it is one.
    fn scan_number(&mut self) -> bool {
        let hex = self.accept(|c| c == '0') && self.accept(|c| c == 'x' || c == 'X');
        if hex {
            self.accept(|c| c == '_');
        }
        let is_digit = |c: char| c.is_ascii_digit() || (hex && c.is_ascii_hexdigit());
        // What may not follow an exponent or an underscore.
        let is_stop = |c: char| matches!(c, '.' | '_' | 'e' | 'E');
        self.accept(|c| c == '.');
        self.accept(is_digit);
        let (mut dot, mut exponent) = (false, false);
        while let Some(c) = self.peek().filter(|c| is_digit(*c) || is_stop(*c)) {
            let is_exponent = matches!(c, 'e' | 'E');
            if (c == '.' && dot) || (is_exponent && exponent) {
                self.bump();
                return false;
            }
            if c == '.' {
                self.bump();
                dot = true;
                if self.accept(|c| c == '_' || c == '.') || hex {
                    return false;
                }
            } else if is_exponent {
                self.bump();
                exponent = true;
                self.accept(|c| c == '+' || c == '-');
                if self.accept(is_stop) || self.peek().is_none() {
                    return false;
                }
            } else if c == '_' {
                self.bump();
                if self.accept(is_stop) || self.peek().is_none() {
                    return false;
                }
            } else {
                self.accept_run(is_digit);
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// Units and further numbers behind the first number. Wrong orders and doubled units are found
    /// when the duration is parsed.
    fn accept_rest_of_duration(&mut self) -> bool {
        if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w' | 'y')) {
            return false;
        }
        self.accept(|c| c == 's');
        while self.accept(|c| c.is_ascii_digit()) {
            self.accept_run(|c| c.is_ascii_digit());
            if !self.accept(|c| matches!(c, 's' | 'm' | 'h' | 'd' | 'w')) {
                return false;
            }
            self.accept(|c| c == 's');
        }
        // Takes the character that makes it fail: the error shows it.
        !self.accept(is_alphanumeric)
    }

    fn keyword_or_identifier(&mut self) -> TokenKind {
        self.accept_run(|c| is_alphanumeric(c) || c == ':');
        let word = self.word();
        match keyword(word) {
            // Words that came late: names of metrics unless a parenthesis follows.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.text[self.pos..].trim_start_matches(is_space).starts_with('(') =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        }
    }
}

/// The kind of a word of the language, in any case of letters.
fn keyword(word: &str) -> Option<TokenKind> {
    let lower = word.to_ascii_lowercase();
    let keyword = |keyword| Some(TokenKind::Keyword(keyword));
    let preprocessor = |word| Some(TokenKind::Preprocessor(word));
    match lower.as_str() {
        "and" => Some(TokenKind::Operator(Operator::Set(SetOp::And))),
        "or" => Some(TokenKind::Operator(Operator::Set(SetOp::Or))),
        "unless" => Some(TokenKind::Operator(Operator::Set(SetOp::Unless))),
        "atan2" => Some(TokenKind::Operator(BinaryOp::Atan2.into())),
        "inf" | "nan" => Some(TokenKind::Number),
        "offset" => keyword(Keyword::Offset),
        "smoothed" => keyword(Keyword::Smoothed),
        "anchored" => keyword(Keyword::Anchored),
        "by" => keyword(Keyword::By),
        "without" => keyword(Keyword::Without),
        "on" => keyword(Keyword::On),
        "ignoring" => keyword(Keyword::Ignoring),
        "group_left" => keyword(Keyword::GroupLeft),
        "group_right" => keyword(Keyword::GroupRight),
        "fill" => keyword(Keyword::Fill),
        "fill_left" => keyword(Keyword::FillLeft),
        "fill_right" => keyword(Keyword::FillRight),
        "bool" => keyword(Keyword::Bool),
        "start" => preprocessor(Preprocessor::Start),
        "end" => preprocessor(Preprocessor::End),
        "step" => preprocessor(Preprocessor::Step),
        "range" => preprocessor(Preprocessor::Range),
        "max_of" => preprocessor(Preprocessor::MaxOf),
        "min_of" => preprocessor(Preprocessor::MinOf),
        name => Aggregation::by_name(name).map(TokenKind::Aggregate),
    }
}

impl Token {
    /// How error texts name the token, which stands in `text`.
    #[must_use]
    pub fn describe(&self, text: &str) -> String {
        let word = &text[self.span.start..self.span.end];
        match self.kind {
            TokenKind::End => "end of input".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(word)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(word)),
            TokenKind::String => format!("string {}", quote_short(word)),
            TokenKind::Number => format!("number {}", quote_short(word)),
            TokenKind::Duration => format!("duration {}", quote_short(word)),
            TokenKind::Keyword(_) => format!("<{word}>"),
            TokenKind::Aggregate(_) => format!("<aggr:{word}>"),
            TokenKind::Operator(_) | TokenKind::At | TokenKind::MatchRegex | TokenKind::MatchNotRegex => {
                format!("<op:{word}>")
            }
            _ => quote_short(word),
        }
    }
}

fn quote_short(word: &str) -> String {
    if word.len() <= 10 {
        return quote(word);
    }
    let short: String = word.chars().take(10).collect();
    format!("{}...", quote(&short))
}

/// A character as Go's `%q` writes it; the end of the text is U+FFFD there.
fn quote_char(c: Option<char>) -> String {
    match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// A character as Go's `%#U` writes it.
fn unicode_notation(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("U+{:04X} '{c}'", c as u32) }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
