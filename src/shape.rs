//! The axes of one sample.

use std::fmt;

/// Axes of one sample, without the batch axis. Images are `[channels, height, width]`.
///
/// ```
/// use layerwise::Shape;
///
/// let image = Shape::from([3, 32, 32]);
/// assert_eq!(image.to_string(), "[3, 32, 32]");
/// assert_eq!((image.rank(), image.numel()), (3, 3072));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Length of each axis.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements; `usize::MAX` if that does not fit.
    pub fn numel(&self) -> usize {
        self.0.iter().fold(1, |product, &len| product.saturating_mul(len))
    }

    /// This shape, if it equals `expected`; `pattern` names the axes in the error.
    ///
    /// # Errors
    /// [`ShapeError`] if the shapes differ.
    ///
    /// ```
    /// use layerwise::Shape;
    ///
    /// let error = Shape::from([9]).require(&[8], "[features]").unwrap_err();
    /// assert_eq!(error.to_string(), "needs [features] = [8], got [9]");
    /// ```
    pub fn require(&self, expected: &[usize], pattern: &str) -> Result<Shape, ShapeError> {
        if self.0 == expected {
            return Ok(self.clone());
        }
        Err(ShapeError::new(format!("{pattern} = {}", Shape::from(expected)), self.clone()))
    }

    /// The length of the only axis, as a fully connected layer needs it.
    ///
    /// # Errors
    /// [`ShapeError`] if there are more axes, or none.
    ///
    /// ```
    /// assert_eq!(layerwise::Shape::from([8]).features().unwrap(), 8);
    /// ```
    pub fn features(&self) -> Result<usize, ShapeError> {
        match self.0[..] {
            [features] => Ok(features),
            _ => Err(ShapeError::new("[features]", self.clone()).hint("add Flatten before it")),
        }
    }

    /// `[channels, height, width]` of an image.
    ///
    /// # Errors
    /// [`ShapeError`] if there are not three axes.
    ///
    /// ```
    /// assert_eq!(layerwise::Shape::from([3, 8, 9]).image().unwrap(), [3, 8, 9]);
    /// ```
    pub fn image(&self) -> Result<[usize; 3], ShapeError> {
        match self.0[..] {
            [channels, height, width] => Ok([channels, height, width]),
            _ => Err(ShapeError::new("[channels, height, width]", self.clone())
                .hint("images have three axes; a grey image is [1, height, width]")),
        }
    }

    /// `[batch, ..dims]`, for messages about whole batches.
    pub(crate) fn with_batch(&self) -> String {
        let mut text = String::from("[batch");
        for len in &self.0 {
            text.push_str(&format!(", {len}"));
        }
        text.push(']');
        text
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.into())
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.into())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

/// A shape that does not fit: what was needed, what was got, and what to do.
///
/// ```
/// use layerwise::{Shape, ShapeError};
///
/// let error = ShapeError::new("[features]", [16, 5, 5]).hint("add Flatten before it");
/// assert_eq!(error.to_string(), "needs [features], got [16, 5, 5]; add Flatten before it");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(Box<Misfit>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Misfit {
    needs: String,
    got: Shape,
    hint: Option<&'static str>,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {}, got {}", self.needs, self.got)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl ShapeError {
    /// `needs` says in words or letters what would fit; `got` is what came.
    pub fn new(needs: impl Into<String>, got: impl Into<Shape>) -> Self {
        Self(Box::new(Misfit { needs: needs.into(), got: got.into(), hint: None }))
    }

    /// Adds the cure.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// The shape that did not fit.
    pub fn got(&self) -> &Shape {
        &self.0.got
    }
}
