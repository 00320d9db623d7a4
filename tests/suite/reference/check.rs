//! Compares what the crate gives with what a case says.

use std::collections::BTreeSet;
use std::error::Error;
use std::marker::PhantomData;

use layerwise::Scalar;
use layerwise::ndarray::{Array, ArrayD, Dimension};

use super::cases::{Case, Config};

/// What a checking function returns: an error where the crate refused, or the case is not as expected.
pub(super) type Done = Result<(), Box<dyn Error>>;

/// One case, being checked with elements of type `F`.
pub(super) struct Check<'a, F> {
    pub(super) case: &'a Case,
    tolerance: f64,
    touched: BTreeSet<String>,
    compared: usize,
    problems: Vec<String>,
    lacks: Vec<String>,
    element: PhantomData<F>,
}

/// How a check ended.
pub(super) enum Verdict {
    Checked,
    Failed(Vec<String>),
    /// Not checked, for these kinds are not in the crate.
    Lacks(Vec<String>),
}

/// Checks one case. It fails unless every one of its tensors was read, compared or set aside by name.
pub(super) fn run<F: Scalar>(case: &Case, function: fn(&mut Check<'_, F>) -> Done) -> Verdict {
    let precision = if size_of::<F>() == 4 { "f32" } else { "f64" };
    let mut check = Check {
        case,
        tolerance: 0.0,
        touched: BTreeSet::new(),
        compared: 0,
        problems: Vec::new(),
        lacks: Vec::new(),
        element: PhantomData,
    };
    let done = case.tolerance(precision).map_err(Into::into).and_then(|tolerance| {
        check.tolerance = tolerance;
        function(&mut check)
    });
    if let Err(cause) = done {
        check.problems.push(cause.to_string());
    } else if !check.lacks.is_empty() {
        return Verdict::Lacks(check.lacks);
    } else {
        check.complain_about_untouched();
    }
    if check.problems.is_empty() {
        return Verdict::Checked;
    }
    let located = |problem| format!("{} ({precision}): {problem}", case.name);
    Verdict::Failed(check.problems.into_iter().map(located).collect())
}

impl<'a, F: Scalar> Check<'a, F> {
    pub(super) fn config(&self) -> Config<'a> {
        self.case.config()
    }

    /// Demands more than the case does.
    pub(super) fn tighten(&mut self, tolerance: f64) {
        self.tolerance = self.tolerance.min(tolerance);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.case.tensor(name).is_ok()
    }

    /// A tensor as the crate gets it: rounded to `F`.
    pub(super) fn tensor(&mut self, name: &str) -> Result<ArrayD<F>, String> {
        Ok(self.exact(name)?.mapv(F::lit))
    }

    /// A tensor as it stands in the file.
    pub(super) fn exact(&mut self, name: &str) -> Result<&'a ArrayD<f64>, String> {
        self.touched.insert(name.into());
        self.case.tensor(name)
    }

    /// A tensor of class indices.
    pub(super) fn classes(&mut self, name: &str) -> Result<Vec<usize>, String> {
        // Whole numbers, stored as floats.
        Ok(self.exact(name)?.iter().map(|&class| class as usize).collect())
    }

    /// Sets a tensor aside that the crate has nothing to compare with.
    pub(super) fn set_aside(&mut self, name: &str) {
        self.touched.insert(name.into());
    }

    /// Notes that the case needs a kind that the crate does not have: it is left out.
    pub(super) fn lack(&mut self, kind: String) {
        self.lacks.push(kind);
    }

    pub(super) fn lacks_anything(&self) -> bool {
        !self.lacks.is_empty()
    }

    /// `got` must be the case's tensor `name`, shape included.
    pub(super) fn same<D: Dimension>(&mut self, name: &str, got: &Array<F, D>) -> Done {
        let want = self.exact(name)?;
        if got.shape() != want.shape() {
            self.problems.push(format!("{name}: shape {:?}, got {:?}", want.shape(), got.shape()));
        }
        self.same_values(name, want, got.iter().map(|&value| value.widen()));
        Ok(())
    }

    /// `got` must be the elements of the case's tensor `name`.
    pub(super) fn same_elements(&mut self, name: &str, got: impl IntoIterator<Item = f64>) -> Done {
        let want = self.exact(name)?;
        self.same_values(name, want, got);
        Ok(())
    }

    /// `max|got − want| / max|want|` must be within the tolerance; absolute where `want` is all zero.
    pub(super) fn same_values<'b>(
        &mut self,
        label: &str,
        want: impl IntoIterator<Item = &'b f64>,
        got: impl IntoIterator<Item = f64>,
    ) {
        let (want, got): (Vec<f64>, Vec<f64>) =
            (want.into_iter().copied().collect(), got.into_iter().collect());
        if !self.same_count(label, want.len(), got.len()) {
            return;
        }
        let scale = want.iter().fold(0.0f64, |scale, want| scale.max(want.abs()));
        let scale = if scale == 0.0 { 1.0 } else { scale };
        let bound = self.tolerance;
        let differs = |(want, got): (&f64, &f64)| {
            let error = (got - want).abs() / scale;
            error.is_nan() || error > bound
        };
        let count = want.iter().zip(&got).filter(|&pair| differs(pair)).count();
        if let Some(first) = want.iter().zip(&got).position(differs) {
            let (want, got) = (want[first], got[first]);
            self.problems.push(format!(
                "{label}: {count} elements differ by more than {bound:e}, \
                 the first at {first}: {want:e}, got {got:e} (largest element {scale:e})"
            ));
        }
    }

    fn same_count(&mut self, label: &str, want: usize, got: usize) -> bool {
        self.compared += want;
        if want != got {
            self.problems.push(format!("{label}: {want} elements, got {got}"));
        }
        want == got
    }

    /// Element by element: `|got − want| ≤ tolerance · max(1, |want|)`, and all finite.
    pub(super) fn same_each(&mut self, label: &str, want: &[f64], got: &ArrayD<F>) {
        if !self.same_count(label, want.len(), got.len()) {
            return;
        }
        for (i, (want, got)) in want.iter().zip(got).enumerate() {
            let error = (got.widen() - want).abs();
            if !(got.is_finite() && error <= self.tolerance * want.abs().max(1.0)) {
                self.problems.push(format!("{label}: {want:e} at {i}, got {got:e}"));
            }
        }
    }

    fn complain_about_untouched(&mut self) {
        let untouched = self.case.tensors().filter(|&name| !self.touched.contains(name));
        self.problems.extend(untouched.map(|name| format!("{name} was never looked at")));
        if self.compared == 0 {
            self.problems.push("nothing was compared".into());
        }
    }
}
