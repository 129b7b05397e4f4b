//! How a level records its gates.

use crate::report::{Gate, Level, Text, Verdict};

impl Level {
    /// A number that must be at most `limit`.
    pub(crate) fn at_most(&mut self, id: &str, title: Text, found: f64, limit: f64) -> &mut Gate {
        // NaN passes no gate.
        let passed = found <= limit;
        self.push(id, title, Some(found), Some(limit), passed)
    }

    /// A number that must be at least `limit`.
    pub(crate) fn at_least(&mut self, id: &str, title: Text, found: f64, limit: f64) -> &mut Gate {
        let passed = found >= limit;
        let gate = self.push(id, title, Some(found), Some(limit), passed);
        gate.at_least = true;
        gate
    }

    /// A condition; the note says what was observed.
    pub(crate) fn holds(&mut self, id: &str, title: Text, outcome: Result<(), String>) {
        let gate = self.push(id, title, None, None, outcome.is_ok());
        gate.note = outcome.err().unwrap_or_default();
    }

    /// A condition without which the report as a whole is partial.
    pub(crate) fn holds_or_partial(&mut self, id: &str, title: Text, outcome: Result<(), String>) {
        self.holds(id, title, outcome);
        if let Some(gate) = self.gates.last_mut() {
            gate.soften();
        }
    }

    /// A share that must be at least `limit`; below it the report as a whole is partial.
    pub(crate) fn partial_below(&mut self, id: &str, title: Text, found: f64, limit: f64) {
        self.at_least(id, title, found, limit).soften();
    }

    /// A number without a limit.
    pub(crate) fn tell(&mut self, id: &str, title: Text, found: f64, unit: &str) -> &mut Gate {
        let gate = self.push(id, title, Some(found), None, true);
        gate.unit = unit.to_owned();
        gate.verdict = Verdict::NotMeasured;
        gate.note = "for information, not judged".to_owned();
        gate
    }

    /// A gate that could not be measured, with the reason.
    pub(crate) fn not_measured(&mut self, id: &str, title: Text, why: &str) {
        let gate = self.push(id, title, None, None, true);
        gate.verdict = Verdict::NotMeasured;
        gate.note = why.to_owned();
    }

    fn push(
        &mut self,
        id: &str,
        title: Text,
        found: Option<f64>,
        limit: Option<f64>,
        passed: bool,
    ) -> &mut Gate {
        let at = self.gates.len();
        self.gates.push(Gate {
            id: id.to_owned(),
            title,
            found,
            spread: None,
            limit,
            at_least: false,
            unit: String::new(),
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            note: String::new(),
        });
        &mut self.gates[at]
    }
}

impl Gate {
    /// Makes a failure a reason for a partial report.
    fn soften(&mut self) {
        if self.verdict == Verdict::Fail {
            self.verdict = Verdict::Partial;
        }
    }
}

/// Whether an error is at least as large as another. NaN counts as the largest.
pub(crate) fn is_as_bad(error: f64, as_other: f64) -> bool {
    error.is_nan() || error >= as_other
}

/// The larger of two errors.
pub(crate) fn worse(a: f64, b: f64) -> f64 {
    if is_as_bad(a, b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Name;

    #[test]
    fn what_is_no_number_is_worst_wherever_it_comes() {
        // The processor's own NaN has its sign set.
        for nan in [f64::NAN, -f64::NAN] {
            for errors in [[nan, 1.0, 9.0], [1.0, nan, 9.0], [1.0, 9.0, nan]] {
                assert!(errors.into_iter().fold(0.0, worse).is_nan(), "{errors:?}");
            }
        }
        assert_eq!(
            [1.0, f64::INFINITY, 9.0].into_iter().fold(0.0, worse),
            f64::INFINITY
        );
    }

    #[test]
    fn what_is_no_number_passes_no_gate() {
        let mut level = Level::new(Name::Op);
        level.at_most("a", Text::new("", ""), f64::NAN, 1.0);
        level.at_least("b", Text::new("", ""), f64::NAN, 1.0);
        level.at_most("c", Text::new("", ""), 1.0, 1.0);
        let verdicts: Vec<_> = level.gates.iter().map(|gate| gate.verdict).collect();
        assert_eq!(verdicts, [Verdict::Fail, Verdict::Fail, Verdict::Pass]);
        assert!(!level.passed());
    }
}
