//! Sizes of what a sliding window gives, and pairs of them.

use crate::{Error, Result, ShapeError};

/// Height and width of a kernel, stride, padding or dilation: one number for both, or `(height, width)`.
///
/// ```
/// use layerwise::layers::Pair;
///
/// assert_eq!(Pair::from(3), Pair::from((3, 3)));
/// assert_eq!(Pair::from([1, 7]).to_string(), "(1, 7)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pair(pub(crate) [usize; 2]);

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both; 2])
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Self([height, width])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({}, {})", self.0[0], self.0[1])
    }
}

impl Pair {
    pub(super) fn has_zero(self) -> bool {
        self.0.contains(&0)
    }
}

/// Elements that a dilated kernel spans: `dilation · (kernel − 1) + 1`.
fn span(kernel: usize, dilation: usize) -> Option<usize> {
    dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)
}

/// `(size + 2·padding − span, stride)`: how far the window can slide.
fn slide(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Result<usize, ShapeError> {
    let fit = || {
        let span = span(kernel, dilation).filter(|_| stride > 0 && dilation > 0)?;
        padding.checked_mul(2)?.checked_add(size)?.checked_sub(span)
    };
    fit().ok_or_else(|| {
        let needs = format!(
            "a kernel of at least 1 that fits the padded input, with stride and dilation at least 1 \
             (kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation})"
        );
        ShapeError::new(needs, [size]).hint("use a smaller kernel or more padding")
    })
}

/// Output size of a convolution along one axis:
/// `⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1`, as in PyTorch.
///
/// The course notes have `(W − F + 2P) / S + 1` and want it to divide exactly: that is
/// [`conv_output_size_exact`].
///
/// # Errors
/// [`ShapeError`] if the kernel is larger than the padded input, or kernel, stride or dilation is 0.
///
/// ```
/// use layerwise::layers::conv_output_size;
///
/// assert_eq!(conv_output_size(32, 5, 1, 2, 1).unwrap(), 32);
/// assert_eq!(conv_output_size(7, 3, 3, 1, 1).unwrap(), 3); // (7 − 3 + 2) / 3 = 2, floored from 2
/// assert!(conv_output_size(4, 7, 1, 1, 1).is_err());
/// ```
pub fn conv_output_size(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Result<usize, ShapeError> {
    slide(size, kernel, stride, padding, dilation)?
        .checked_div(stride)
        .and_then(|steps| steps.checked_add(1))
        .ok_or_else(|| ShapeError::new("an output size that fits usize", [size]))
}

/// Like [`conv_output_size`], and an error where the windows leave a rest: `conv_calc` of the course notes.
///
/// # Errors
/// Also [`ShapeError`] if `size + 2·padding − dilation·(kernel − 1) − 1` is no multiple of the stride.
///
/// ```
/// use layerwise::layers::conv_output_size_exact;
///
/// assert_eq!(conv_output_size_exact(7, 3, 2, 0, 1).unwrap(), 3);
/// let error = conv_output_size_exact(7, 3, 3, 0, 1).unwrap_err();
/// assert_eq!(error.to_string(), "needs a size that windows of 3 at stride 3 cover without a rest, got [7]; change size, padding or stride");
/// ```
pub fn conv_output_size_exact(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Result<usize, ShapeError> {
    if slide(size, kernel, stride, padding, dilation)?.checked_rem(stride) != Some(0) {
        let needs =
            format!("a size that windows of {kernel} at stride {stride} cover without a rest");
        return Err(ShapeError::new(needs, [size]).hint("change size, padding or stride"));
    }
    conv_output_size(size, kernel, stride, padding, dilation)
}

/// Output size of pooling along one axis: as [`conv_output_size`], or with `ceil_mode` rounded up, where
/// the last window must start inside the input or the padding before it (PyTorch's rule).
///
/// # Errors
/// [`ShapeError`] as for [`conv_output_size`].
///
/// ```
/// use layerwise::layers::pool_output_size;
///
/// assert_eq!(pool_output_size(7, 2, 2, 0, 1, false).unwrap(), 3);
/// assert_eq!(pool_output_size(7, 2, 2, 0, 1, true).unwrap(), 4);
/// assert_eq!(pool_output_size(5, 1, 3, 1, 1, true).unwrap(), 3);
/// ```
pub fn pool_output_size(
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
    ceil_mode: bool,
) -> Result<usize, ShapeError> {
    let floor = conv_output_size(size, kernel, stride, padding, dilation)?;
    let rest = slide(size, kernel, stride, padding, dilation)?.checked_rem(stride).unwrap_or(0);
    let starts_inside =
        floor.checked_mul(stride).is_some_and(|start| start < size.saturating_add(padding));
    Ok(floor + usize::from(ceil_mode && rest > 0 && starts_inside))
}

/// Like [`pool_output_size`] without `ceil_mode`, and an error where the windows leave a rest:
/// `pool_calc` of the course notes, `(W − F) / S + 1`.
///
/// # Errors
/// [`ShapeError`] as for [`conv_output_size_exact`].
///
/// ```
/// use layerwise::layers::pool_output_size_exact;
///
/// assert_eq!(pool_output_size_exact(28, 2, 2).unwrap(), 14);
/// assert!(pool_output_size_exact(7, 2, 2).is_err());
/// ```
pub fn pool_output_size_exact(
    size: usize,
    kernel: usize,
    stride: usize,
) -> Result<usize, ShapeError> {
    conv_output_size_exact(size, kernel, stride, 0, 1)
}

/// The settings of a pooling layer, checked when it is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct PoolSettings {
    pub(super) kernel: Pair,
    pub(super) stride: Option<Pair>,
    pub(super) padding: Pair,
    pub(super) dilation: Pair,
    pub(super) ceil_mode: bool,
}

impl PoolSettings {
    pub(super) fn new(kernel: Pair) -> Self {
        Self { kernel, stride: None, padding: 0.into(), dilation: 1.into(), ceil_mode: false }
    }

    pub(super) fn check(&self, kind: &'static str) -> Result<()> {
        at_least_1(kind, "kernel", self.kernel)?;
        at_least_1(kind, "stride", self.stride.unwrap_or(self.kernel))?;
        at_least_1(kind, "dilation", self.dilation)?;
        // A window with nothing but padding has no largest element and no mean.
        if (0..2).any(|axis| self.padding.0[axis] > self.kernel.0[axis] / 2) {
            return Err(Error::config(kind, "padding", "at most half the kernel", self.padding));
        }
        Ok(())
    }

    pub(super) fn geometry(
        &self,
        input: &crate::Shape,
    ) -> Result<(usize, crate::kernels::pool::Geometry), ShapeError> {
        let [channels, height, width] = input.image()?;
        let stride = self.stride.unwrap_or(self.kernel);
        let mut output = [0; 2];
        for (axis, size) in [height, width].into_iter().enumerate() {
            let (kernel, stride) = (self.kernel.0[axis], stride.0[axis]);
            let (padding, dilation) = (self.padding.0[axis], self.dilation.0[axis]);
            output[axis] =
                pool_output_size(size, kernel, stride, padding, dilation, self.ceil_mode)
                    .map_err(|_| self.too_large(input))?;
        }
        if u32::try_from(height.saturating_mul(width)).is_err() {
            return Err(ShapeError::new("a plane of fewer than 2^32 elements", input));
        }
        let geometry = crate::kernels::pool::Geometry {
            input: [height, width],
            output,
            kernel: self.kernel.0,
            stride: stride.0,
            padding: self.padding.0,
            dilation: self.dilation.0,
        };
        Ok((channels, geometry))
    }

    fn too_large(&self, input: &crate::Shape) -> ShapeError {
        kernel_too_large(self.kernel, self.padding, self.dilation, input)
    }
}

pub(super) fn at_least_1(kind: &'static str, field: &'static str, pair: Pair) -> Result<()> {
    if pair.has_zero() {
        return Err(Error::config(kind, field, "at least 1", pair));
    }
    Ok(())
}

/// What every convolution asks of its filters and groups.
pub(super) fn check_groups(
    kind: &'static str,
    groups: usize,
    channels: usize,
    filters: usize,
) -> Result<()> {
    if filters == 0 {
        return Err(Error::config(kind, "filters", "at least 1", 0));
    }
    if groups == 0 || !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
        let got = format!("{groups} with {channels} channels and {filters} filters");
        return Err(Error::config(kind, "groups", "a divisor of channels and filters", got));
    }
    Ok(())
}

pub(super) fn kernel_too_large(
    kernel: Pair,
    padding: Pair,
    dilation: Pair,
    input: &crate::Shape,
) -> ShapeError {
    let needs = format!(
        "an image at least as large as the kernel {kernel} with dilation {dilation} after padding {padding}"
    );
    ShapeError::new(needs, input)
        .hint("use a smaller kernel, more padding, or fewer pooling layers before it")
}
