//! The trait of everything that predicts.

use std::fmt::Debug;

use crate::{Result, Scalar, Sequential, Shape, View, Workspace};

/// Predicts like a model: a [`Sequential`], an [`crate::ensembles::Ensemble`], test-time augmentation.
/// [`crate::metrics::evaluate`] takes any of them.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
/// use layerwise::{Predictor, View};
///
/// /// The opposite of what a model says.
/// #[derive(Debug)]
/// struct Contrary(Sequential);
///
/// #[derive(Debug, Default)]
/// struct Room(Workspace, ArrayD<f32>);
///
/// impl Predictor for Contrary {
///     type Room = Room;
///     fn output_shape(&self) -> &Shape { self.0.output_shape() }
///     fn predict_in<'r>(&self, x: View<'_>, room: &'r mut Room) -> Result<View<'r>> {
///         room.1 = -&self.0.predict_with(x, &mut room.0)?;
///         Ok(room.1.view())
///     }
/// }
///
/// let data = Dataset::new(ndarray::arr2(&[[1.0f32], [2.0]]).into_dyn(), vec![1, 1])?;
/// let mut model = Sequential::builder([1]).add(Linear::new(2)).build()?;
/// model.set_value("0.weight", &ndarray::arr2(&[[1.0], [-1.0]]))?;
/// assert_eq!(accuracy(&model, &data)?, 0.0);
/// assert_eq!(accuracy(&Contrary(model), &data)?, 1.0);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Predictor<F: Scalar = f32>: Debug + Send + Sync {
    /// Memory that a prediction needs: one for each thread, kept from batch to batch.
    type Room: Default + Debug + Send;

    /// Shape of one output sample.
    fn output_shape(&self) -> &Shape;

    /// Predicts a batch `[n, ..]`: `[n, ..output shape]`, in the caller's memory.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if the batch has another shape.
    fn predict_in<'r>(&self, x: View<'_, F>, room: &'r mut Self::Room) -> Result<View<'r, F>>;
}

/// In eval mode, as [`Sequential::predict_with`].
impl<F: Scalar> Predictor<F> for Sequential<F> {
    type Room = Workspace<F>;

    fn output_shape(&self) -> &Shape {
        Sequential::output_shape(self)
    }

    fn predict_in<'r>(&self, x: View<'_, F>, room: &'r mut Workspace<F>) -> Result<View<'r, F>> {
        self.predict_with(x, room)
    }
}
