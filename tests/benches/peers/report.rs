//! Figures as people read them.

use std::fmt;
use std::io::Write as _;

/// Prints a line. Nothing can be done about a closed pipe.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(anstream::stdout().lock(), "{line}");
}

/// The middle of some figures.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

/// What one contender showed, round by round.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) name: &'static str,
    pub(crate) rounds: Vec<f64>,
}

/// A table of one kind of figure: the median of each contender, its range, and the first contender's share of it, taken
/// within each round.
pub(crate) fn table(what: &str, all: &[Figures]) {
    say(format_args!("  {:<10} {what:>24} {:>18} {:>10}", "", "range", "ratio"));
    let Some(first) = all.first() else { return };
    for figures in all {
        let ratios: Vec<_> =
            first.rounds.iter().zip(&figures.rounds).map(|(ours, theirs)| ours / theirs).collect();
        let least = figures.rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = figures.rounds.iter().copied().fold(0.0, f64::max);
        let range = format!("{least:.1} to {most:.1}");
        say(format_args!(
            "  {:<10} {:>24.1} {range:>18} {:>10.2}",
            figures.name,
            median(&figures.rounds),
            median(&ratios)
        ));
    }
}
