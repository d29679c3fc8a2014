//! How often the queries of `WITH` would be planned.
//!
//! A query that is named twice is planned twice, and with it what it names: twenty lines of `WITH`, each naming the
//! one before twice, are a million queries. The planner has them before anybody can look at its plan, so the words
//! of the statement are counted instead: `name AS (` begins a query that ends with its parenthesis, and every later
//! word that is its name stands for it. A column of the same name counts, too, which does no harm.

use std::collections::HashMap;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

/// Queries of a statement, those of `WITH` as often as they are named.
pub fn times_planned(tokens: &[Token]) -> u64 {
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut counted = Counted::default();
    counted.of(&tokens)
}

#[derive(Default)]
struct Counted {
    /// By name, in small letters.
    queries: HashMap<String, u64>,
}

impl Counted {
    fn of(&mut self, tokens: &[&Token]) -> u64 {
        let mut times = 1u64;
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if let Some((name, from)) = begins_query(&tokens[at..]) {
                let to = end_of_parenthesis(tokens, at + from);
                let inner = self.of(&tokens[at + from..to]);
                let known = self.queries.entry(name).or_default();
                *known = inner.max(*known);
                at = to;
                continue;
            }
            times = times.saturating_add(self.named(token));
            at += 1;
        }
        times
    }

    fn named(&self, token: &Token) -> u64 {
        let Token::Word(word) = token else { return 0 };
        self.queries.get(&word.value.to_lowercase()).copied().unwrap_or(0)
    }
}

/// The name and the place behind the parenthesis, if a query of `WITH` begins here.
fn begins_query(tokens: &[&Token]) -> Option<(String, usize)> {
    let Token::Word(name) = tokens.first()? else { return None };
    // The names of columns may stand between.
    let behind = if matches!(tokens.get(1)?, Token::LParen) { end_of_parenthesis(tokens, 2) } else { 1 };
    let is_as = matches!(tokens.get(behind)?, Token::Word(word) if word.keyword == Keyword::AS);
    let opens = |at: usize| matches!(tokens.get(at), Some(Token::LParen));
    let hint = |at: usize| matches!(tokens.get(at), Some(Token::Word(_)));
    let open = (behind + 1..behind + 4).find(|at| opens(*at) || !hint(*at)).filter(|at| opens(*at))?;
    is_as.then(|| (name.value.to_lowercase(), open + 1))
}

/// The place behind the parenthesis that was opened before `from`.
fn end_of_parenthesis(tokens: &[&Token], from: usize) -> usize {
    let mut depth = 1;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    #[test]
    fn a_query_counts_as_often_as_it_is_named() {
        for (text, times) in [
            ("SELECT 1", 1),
            ("WITH a AS (SELECT 1) SELECT 2", 1),
            ("WITH a AS (SELECT 1) SELECT * FROM a, A", 3),
            (
                "WITH a(x, y) AS NOT MATERIALIZED (SELECT 1, 2), b AS (SELECT * FROM a, a) SELECT * FROM b, b",
                7,
            ),
            ("WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x FROM n) SELECT x FROM n", 2),
            ("SELECT count(*) AS x FROM (SELECT 1) AS y", 1),
            ("SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) b, (SELECT 1) c", 2),
        ] {
            let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap();
            assert_eq!(times_planned(&tokens), times, "{text}");
        }
        let chain: Vec<String> =
            (1..80).map(|i| format!("t{i} AS (SELECT * FROM t{0}, t{0})", i - 1)).collect();
        let text = format!("WITH t0 AS (SELECT 1), {} SELECT * FROM t79", chain.join(", "));
        let tokens = Tokenizer::new(&GenericDialect {}, &text).tokenize().unwrap();
        assert_eq!(times_planned(&tokens), u64::MAX);
    }
}
