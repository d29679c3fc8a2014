//! What is said about a measurement: a *criterion* is a floor or a goal with its verdict, a
//! *comparison* sets one figure of the product beside a peer's; a *section* is one part of the page.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Below it the product is not good enough.
    Floor,
    /// Where it is going.
    Goal,
}

/// A floor or a goal.
#[derive(Clone, Debug)]
pub struct Criterion {
    bound: Bound,
    what: String,
    wanted: String,
    measured: String,
    /// `None` if it could not be measured.
    met: Option<bool>,
}

impl Criterion {
    /// `measured` must reach `limit`; `None` if it could not be measured.
    pub fn at_least(bound: Bound, what: &str, measured: Option<f64>, limit: f64, unit: &str) -> Self {
        let met = measured.map(|measured| measured >= limit);
        Self::new(bound, what, "at least", measured, limit, unit, met)
    }

    /// `measured` must not exceed `limit`; `None` if it could not be measured.
    pub fn at_most(bound: Bound, what: &str, measured: Option<f64>, limit: f64, unit: &str) -> Self {
        let met = measured.map(|measured| measured <= limit);
        Self::new(bound, what, "at most", measured, limit, unit, met)
    }

    fn new(
        bound: Bound,
        what: &str,
        relation: &str,
        measured: Option<f64>,
        limit: f64,
        unit: &str,
        met: Option<bool>,
    ) -> Self {
        let measured = measured.map_or_else(|| "not measured".to_owned(), number);
        let wanted = format!("{relation} {} {unit}", number(limit));
        Self { bound, what: what.to_owned(), wanted, measured, met }
    }

    /// True if it was measured and is not reached.
    pub fn is_missed(&self) -> bool {
        self.met == Some(false)
    }

    fn row(&self) -> Vec<String> {
        let bound = if self.bound == Bound::Floor { "floor" } else { "goal" };
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "not measured",
        };
        vec![
            self.what.clone(),
            bound.to_owned(),
            self.wanted.clone(),
            self.measured.clone(),
            verdict.to_owned(),
        ]
    }
}

/// All criteria as a table, floors first.
pub fn criteria_table(criteria: &[Criterion]) -> String {
    let of = |bound| criteria.iter().filter(move |criterion| criterion.bound == bound);
    let rows: Vec<_> = of(Bound::Floor).chain(of(Bound::Goal)).map(Criterion::row).collect();
    table(&["what", "", "wanted", "measured", "verdict"], &rows)
}

/// One figure of the product beside a peer's; less is better.
#[derive(Clone, Debug)]
pub struct PeerComparison {
    pub what: String,
    pub peer: &'static str,
    pub ours: f64,
    pub theirs: f64,
}

impl PeerComparison {
    /// In words, if the product is worse.
    pub fn shortfall(&self) -> Option<String> {
        let ratio = self.ours / self.theirs;
        (ratio > 1.0).then(|| format!("- {}: {ratio:.2} times {}", self.what, self.peer))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Markdown.
    pub text: String,
    /// Floors and goals that it decides.
    pub criteria: Vec<Criterion>,
    /// What may turn out worse than a peer's.
    pub comparisons: Vec<PeerComparison>,
    /// Every number behind it, for machines.
    pub raw: Value,
}

pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        // A bar ends a cell, also inside code.
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// A number with about three digits that mean something, and no exponent.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => grouped(value.round()),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let length = digits.len();
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (length - k).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_what_means_something() {
        let shown = [1_234_567.8, -1_234.0, 999.6, 57.64, 1.005, 0.5304, 0.0].map(number);
        assert_eq!(shown, ["1,234,568", "-1,234", "1000", "57.6", "1.00", "0.530", "0.00"]);
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let check = |measured| Criterion::at_most(Bound::Floor, "x", measured, 1.0, "ms");
        assert!(!check(Some(1.0)).is_missed() && check(Some(1.1)).is_missed() && !check(None).is_missed());
        assert_eq!(check(None).row()[4], "not measured");
    }

    #[test]
    fn only_the_worse_figure_is_a_shortfall() {
        let compare = |ours| PeerComparison { what: "q".into(), peer: "P", ours, theirs: 2.0 };
        assert_eq!(compare(3.0).shortfall().as_deref(), Some("- q: 1.50 times P"));
        assert_eq!(compare(2.0).shortfall(), None);
    }
}
