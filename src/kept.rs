//! What layers derive from their parameters and keep from one prediction to the next.

use std::fmt;

use crate::kernels::aligned::Aligned;
use crate::param::Stamp;
use crate::{Param, Scalar};

/// What a layer computes from a parameter alone, such as a weight in the order that a kernel reads it in,
/// kept between predictions for as long as the parameter's value stays the same.
///
/// A layer finds one in [`Forward::kept`](crate::Forward::kept). Every change of a [`Param`]'s value is
/// noticed, whoever made it and in whichever model: nothing old is ever handed out.
///
/// ```
/// use layerwise::{Kept, Param, Role};
/// use ndarray::arr1;
///
/// let mut weight = Param::new(arr1(&[1.0f32, 2.0]).into_dyn(), Role::Weight);
/// let (mut kept, mut made) = (Kept::default(), 0);
/// let mut twice = |weight: &Param| {
///     let double = kept.get(weight, 0, 2, |out| {
///         made += 1;
///         out.iter_mut().zip(weight.as_slice()).for_each(|(out, &x)| *out = 2.0 * x);
///     });
///     (double.to_vec(), made)
/// };
/// assert_eq!(twice(&weight), (vec![2.0, 4.0], 1));
/// assert_eq!(twice(&weight), (vec![2.0, 4.0], 1)); // kept
/// weight.set_value(arr1(&[5.0, 6.0]).view().into_dyn())?;
/// assert_eq!(twice(&weight), (vec![10.0, 12.0], 2)); // made anew
/// # Ok::<(), layerwise::ShapeError>(())
/// ```
#[derive(Default)]
pub struct Kept<F: Scalar = f32>(Vec<Entry<F>>);

struct Entry<F> {
    form: usize,
    /// The value it was made from; `None` while it is being made.
    stamp: Option<Stamp>,
    data: Aligned<F>,
    /// Elements of `data` that were made.
    len: usize,
}

impl<F: Scalar> Kept<F> {
    /// `len` elements computed from `param` by `make`, which is called only if they are not there already.
    ///
    /// `form` is a number of the layer's choice that tells apart what it keeps: one for each of its
    /// parameters and for each order of their elements. `make` finds unspecified contents and writes every
    /// element. One value is kept for each form, so memory does not grow with the number of calls.
    pub fn get(
        &mut self,
        param: &Param<F>,
        form: usize,
        len: usize,
        make: impl FnOnce(&mut [F]),
    ) -> &[F] {
        let at = self.0.iter().position(|entry| entry.form == form).unwrap_or_else(|| {
            self.0.push(Entry { form, stamp: None, data: Aligned::default(), len: 0 });
            self.0.len() - 1
        });
        let entry = &mut self.0[at];
        if entry.stamp != Some(param.stamp()) || entry.len != len {
            entry.stamp = None;
            assert!(entry.data.try_grow(len), "there is memory for {len} elements to be kept");
            make(&mut entry.data[..len]);
            (entry.stamp, entry.len) = (Some(param.stamp()), len);
        }
        &entry.data[..len]
    }

    /// Elements in memory.
    pub(crate) fn elements(&self) -> usize {
        self.0.iter().map(|entry| entry.data.len()).sum()
    }
}

/// Its size, not its contents.
impl<F: Scalar> fmt::Debug for Kept<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} elements)", self.elements())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;
    use crate::Role;

    fn param(value: f32) -> Param {
        Param::new(arr1(&[value]).into_dyn(), Role::Weight)
    }

    /// What `kept` hands out for `param`, and whether it had to be made.
    fn ask(kept: &mut Kept, param: &Param, form: usize) -> (f32, bool) {
        let mut made = false;
        let copy = kept.get(param, form, 1, |out| {
            made = true;
            out.copy_from_slice(param.as_slice());
        });
        (copy[0], made)
    }

    #[test]
    fn a_value_is_made_once_and_again_after_every_change() {
        let (mut kept, mut a) = (Kept::default(), param(1.0));
        assert_eq!(ask(&mut kept, &a, 0), (1.0, true));
        assert_eq!(ask(&mut kept, &a, 0), (1.0, false));
        assert_eq!(ask(&mut kept, &a.clone(), 0), (1.0, false)); // a clone has the same value
        a.set_value(arr1(&[2.0]).view().into_dyn()).unwrap();
        assert_eq!(ask(&mut kept, &a, 0), (2.0, true));
        a.fill_from(&[3.0]);
        assert_eq!(ask(&mut kept, &a, 0), (3.0, true));
        a.grad_mut().unwrap().fill(1.0);
        assert_eq!(ask(&mut kept, &a, 0), (3.0, false)); // a gradient is not the value
        let (value, grad) = a.take_grad().unwrap();
        (value[0], grad[0]) = (4.0, 0.0);
        assert_eq!(ask(&mut kept, &a, 0), (4.0, true));
        a.set_constraint(Some(std::sync::Arc::new(crate::regularizers::MaxNorm(1.0))));
        a.constrain();
        assert!(ask(&mut kept, &a, 0).1);
    }

    #[test]
    fn another_parameter_of_the_same_shape_is_another_value() {
        let (mut kept, a, b) = (Kept::default(), param(1.0), param(2.0));
        for _ in 0..2 {
            assert_eq!(ask(&mut kept, &a, 0), (1.0, true));
            assert_eq!(ask(&mut kept, &b, 0), (2.0, true));
        }
        assert_eq!(kept.elements(), 1);
        // Under forms of their own both stay.
        assert_eq!(ask(&mut kept, &a, 1), (1.0, true));
        assert_eq!((ask(&mut kept, &b, 0), ask(&mut kept, &a, 1)), ((2.0, false), (1.0, false)));
    }

    #[test]
    fn a_change_of_a_clone_leaves_the_other() {
        let (mut kept, a) = (Kept::default(), param(1.0));
        let mut b = a.clone();
        ask(&mut kept, &a, 0);
        b.set_value(arr1(&[2.0]).view().into_dyn()).unwrap();
        assert_eq!(ask(&mut kept, &b, 0), (2.0, true));
        assert_eq!(ask(&mut kept, &a, 0), (1.0, true));
    }

    #[test]
    fn what_was_being_made_when_make_panicked_is_made_again() {
        let (mut kept, a) = (Kept::default(), param(1.0));
        ask(&mut kept, &a, 0);
        let b = param(2.0);
        let half = std::panic::AssertUnwindSafe(|| {
            kept.get(&b, 0, 1, |_| panic!("half way"));
        });
        assert!(std::panic::catch_unwind(half).is_err());
        assert_eq!(ask(&mut kept, &b, 0), (2.0, true));
        assert_eq!(ask(&mut kept, &a, 0), (1.0, true));
    }
}
