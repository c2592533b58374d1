//! Algebraic identities, judged on random instances and their hard cases.

use super::finding::{Control, Counterexample, Finding, Hypothesis};
use super::statistics::number;
use super::verdict::Verdict;
use crate::matrix::Matrix;
use serde_json::{Map, Value, json};

/// How far two sides of a formula are apart on one instance, and how far rounding lets them be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discrepancy {
    /// The largest difference of the two sides.
    pub error: f64,
    /// What rounding can make of it, derived from the terms that were summed and from conditioning.
    pub allowed: f64,
}

impl Discrepancy {
    /// Of two matrices, entry by entry.
    pub fn between(a: &Matrix, b: &Matrix, allowed: f64) -> Self {
        Discrepancy { error: largest((a - b).iter().copied()), allowed }
    }

    /// The worse of two.
    #[must_use]
    pub fn or(self, other: Discrepancy) -> Self {
        if self.ratio() >= other.ratio() { self } else { other }
    }

    /// Error over what is allowed: the formula fails where this exceeds 1. An error that is no number fails.
    pub fn ratio(&self) -> f64 {
        match self.error {
            0.0 => 0.0,
            error if error.is_nan() || self.allowed.is_nan() => f64::INFINITY,
            error => error / self.allowed,
        }
    }
}

/// The largest absolute value; a NaN counts as infinite.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    let sizes = values.into_iter().map(|value| if value.is_nan() { f64::INFINITY } else { value.abs() });
    sizes.fold(0.0, f64::max)
}

/// Something that a formula is evaluated on.
pub trait Instance {
    /// What it is, in a few words with its seed.
    fn label(&self) -> String;
    /// Its matrices by name, as a counterexample shows them.
    fn matrices(&self) -> Vec<(String, Matrix)>;
    /// Numbers that it consists of: of two counterexamples the smaller one is shown.
    fn size(&self) -> usize {
        self.matrices().iter().map(|(_, matrix)| matrix.len()).sum()
    }
}

/// What a check says of an instance: nothing where the formula's hypotheses do not hold there.
pub type Checked = Result<Option<Discrepancy>, String>;

/// A formula and how it is checked on an instance.
pub struct Formula<'a, I> {
    /// The formula, written out.
    pub text: &'a str,
    /// Compares its two sides.
    pub check: &'a dyn Fn(&I) -> Checked,
}

impl<'a, I> Formula<'a, I> {
    /// A formula and its check.
    pub fn new(text: &'a str, check: &'a dyn Fn(&I) -> Checked) -> Self {
        Formula { text, check }
    }
}

/// What a check came to over all instances.
struct Sweep<'a, I> {
    judged: usize,
    worst: Option<(&'a I, Discrepancy)>,
    failed: usize,
    smallest_failure: Option<(&'a I, Discrepancy)>,
}

impl<'a, I: Instance> Sweep<'a, I> {
    fn of(instances: &'a [I], formula: &Formula<'_, I>) -> Result<Self, String> {
        let mut sweep = Sweep { judged: 0, worst: None, failed: 0, smallest_failure: None };
        for instance in instances {
            let checked = (formula.check)(instance).map_err(|e| format!("{}: {e}", instance.label()))?;
            let Some(discrepancy) = checked else { continue };
            sweep.judged += 1;
            if sweep.worst.as_ref().is_none_or(|(_, worst)| discrepancy.ratio() > worst.ratio()) {
                sweep.worst = Some((instance, discrepancy));
            }
            if discrepancy.ratio() > 1.0 {
                sweep.failed += 1;
                if sweep.smallest_failure.as_ref().is_none_or(|(other, _)| instance.size() < other.size()) {
                    sweep.smallest_failure = Some((instance, discrepancy));
                }
            }
        }
        Ok(sweep)
    }

    /// Whether more than a tenth of the instances contradict the formula, so that its failure hangs on no single one.
    fn fails(&self) -> bool {
        10 * self.failed > self.judged
    }

    fn holds(&self) -> bool {
        self.judged > 0 && self.failed == 0
    }

    fn words(&self) -> String {
        match &self.worst {
            None => "judged on no instance".to_string(),
            Some((_, worst)) if self.failed == 0 => format!(
                "error at most {} of what rounding allows on {} instances",
                number(worst.ratio()),
                self.judged
            ),
            Some((_, worst)) => format!(
                "fails on {} of {} instances, by up to {} times what rounding allows",
                self.failed,
                self.judged,
                number(worst.ratio())
            ),
        }
    }

    fn to_json(&self) -> Value {
        let shown = |found: &Option<(&I, Discrepancy)>| {
            found.as_ref().map(|(instance, discrepancy)| {
                json!({
                    "instance": instance.label(), "error": discrepancy.error,
                    "allowed": discrepancy.allowed, "ratio": discrepancy.ratio(),
                })
            })
        };
        json!({
            "instances": self.judged, "failed": self.failed,
            "worst": shown(&self.worst), "smallest_failure": shown(&self.smallest_failure),
        })
    }
}

/// What stands against a claimed formula.
pub enum Against<'a, I> {
    /// A wrong formula, which the check must reject.
    Wrong(Formula<'a, I>),
    /// The corrected formula, which the check must accept, and a second wrong one, which it must reject: the control of a
    /// claim that is refuted.
    CorrectedAndWrong(Formula<'a, I>, Formula<'a, I>),
}

/// Judges `claimed` on `instances`: it holds where no instance exceeds what rounding allows, and the smallest one that does
/// is a counterexample.
///
/// `assumed` is the hypothesis under which a check gives a number, if the formula has one.
pub fn judge<I: Instance>(
    instances: &[I],
    claimed: &Formula<'_, I>,
    against: &Against<'_, I>,
    assumed: Option<&str>,
) -> Result<Finding, String> {
    let sweep = Sweep::of(instances, claimed)?;
    if sweep.judged == 0 {
        return Err("the hypotheses held on no instance".to_string());
    }
    let mut evidence = Map::new();
    evidence.insert("formula".to_string(), json!(claimed.text));
    evidence.insert("claimed".to_string(), sweep.to_json());
    let control = match against {
        Against::Wrong(wrong) => {
            let other = Sweep::of(instances, wrong)?;
            evidence.insert("wrong".to_string(), other.to_json());
            Control::new(format!("wrong formula {}: {}", wrong.text, other.words()), other.fails())
        }
        Against::CorrectedAndWrong(corrected, wrong) => {
            let (right, other) = (Sweep::of(instances, corrected)?, Sweep::of(instances, wrong)?);
            evidence.insert("corrected".to_string(), right.to_json());
            evidence.insert("wrong".to_string(), other.to_json());
            let what = format!(
                "corrected {}: {}; wrong formula {}: {}",
                corrected.text,
                right.words(),
                wrong.text,
                other.words()
            );
            Control::new(what, right.holds() && other.fails())
        }
    };
    let skipped = instances.len() - sweep.judged;
    let hypotheses = assumed.map_or_else(Vec::new, |name| {
        let name = match skipped {
            0 => name.to_string(),
            _ => format!("{name} (instances where it fails are not judged: {skipped})"),
        };
        vec![Hypothesis::held(name)]
    });
    let counterexample = sweep.smallest_failure.as_ref().map(|(instance, discrepancy)| {
        let formula = format!(
            "{}: the two sides differ by {:e}, where rounding explains {:e}",
            claimed.text, discrepancy.error, discrepancy.allowed
        );
        Counterexample::Matrices { formula, matrices: instance.matrices() }
    });
    let verdict = if sweep.holds() { Verdict::Holds } else { Verdict::Refuted };
    Ok(Finding { verdict, summary: sweep.words(), evidence, hypotheses, control, counterexample })
}

/// What `formula` comes to on `instances`, as evidence beside that on the claimed one.
pub fn tally<I: Instance>(instances: &[I], formula: &Formula<'_, I>) -> Result<Value, String> {
    Ok(Sweep::of(instances, formula)?.to_json())
}

/// The same of what must hold before anything can be judged, such as that the engine computes what it says: an error
/// where it fails on an instance.
pub fn required<I: Instance>(instances: &[I], formula: &Formula<'_, I>) -> Result<Value, String> {
    let sweep = Sweep::of(instances, formula)?;
    match sweep.holds() {
        true => Ok(sweep.to_json()),
        false => Err(format!("{}: {}", formula.text, sweep.words())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Number(f64);

    impl Instance for Number {
        fn label(&self) -> String {
            format!("{}", self.0)
        }
        fn matrices(&self) -> Vec<(String, Matrix)> {
            vec![("x".to_string(), Matrix::from_element(1, 1, self.0))]
        }
    }

    fn is_square(of: f64) -> impl Fn(&Number) -> Result<Option<Discrepancy>, String> {
        move |x: &Number| {
            Ok((x.0 >= 0.0).then(|| Discrepancy { error: (x.0.powf(of) - x.0 * x.0).abs(), allowed: 1e-12 }))
        }
    }

    #[test]
    fn a_true_formula_holds_where_it_applies_and_a_wrong_one_is_refuted_with_an_instance() {
        let instances = [Number(-1.0), Number(0.25), Number(0.5), Number(1.0)];
        let (right, wrong) = (is_square(2.0), is_square(3.0));
        let right = || Formula { text: "x^2", check: &right };
        let wrong = || Formula { text: "x^3", check: &wrong };
        let finding = judge(&instances, &right(), &Against::Wrong(wrong()), Some("x >= 0")).unwrap();
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Holds, Some(true)));
        assert!(finding.hypotheses[0].name.contains("not judged: 1"));
        let finding =
            judge(&instances, &wrong(), &Against::CorrectedAndWrong(right(), wrong()), None).unwrap();
        assert_eq!((finding.verdict, finding.control.rejected), (Verdict::Refuted, Some(true)));
        let Some(Counterexample::Matrices { matrices, .. }) = finding.counterexample else { panic!() };
        assert_eq!(matrices[0].1[(0, 0)], 0.25);
        // A control that rejects nothing is seen, and so is one that rejects the correction.
        assert_eq!(
            judge(&instances, &right(), &Against::Wrong(right()), None).unwrap().control.rejected,
            Some(false)
        );
        let both_wrong = Against::CorrectedAndWrong(wrong(), wrong());
        assert_eq!(judge(&instances, &wrong(), &both_wrong, None).unwrap().control.rejected, Some(false));
    }

    #[test]
    fn what_must_hold_is_an_error_where_it_fails() {
        let instances = [Number(0.5), Number(1.0)];
        let (right, wrong) = (is_square(2.0), is_square(3.0));
        assert!(required(&instances, &Formula { text: "x^2", check: &right }).is_ok());
        let error = required(&instances, &Formula { text: "x^3", check: &wrong }).unwrap_err();
        assert!(error.starts_with("x^3: fails on 1 of 2"), "{error}");
        let tally = tally(&instances, &Formula { text: "x^3", check: &wrong }).unwrap();
        assert_eq!(tally["failed"], 1);
    }

    #[test]
    fn what_is_judged_on_no_instance_does_not_hold() {
        let never = |_: &Number| Ok(None);
        let formula = || Formula { text: "", check: &never };
        assert!(judge(&[Number(1.0)], &formula(), &Against::Wrong(formula()), None).is_err());
    }

    #[test]
    fn an_error_that_is_no_number_fails() {
        assert_eq!(Discrepancy { error: f64::NAN, allowed: 1.0 }.ratio(), f64::INFINITY);
        assert_eq!(largest([1.0, f64::NAN]), f64::INFINITY);
        assert_eq!(Discrepancy { error: 0.0, allowed: 0.0 }.ratio(), 0.0);
    }
}
