//! Everything that can go wrong, with its text.

use std::fmt;

use crate::{Shape, ShapeError};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a model a layer stands: its position (`4`, or `2.0` inside a nested model) and its name,
/// if it was given one.
///
/// Displayed as `layer 4`, ``layer 4 `head` ``, or just `layer` for a layer used outside a model.
///
/// ```
/// use layerwise::prelude::*;
///
/// let error = Sequential::builder([8]).add_named("head", Conv2d::new(4, 3)).build().unwrap_err();
/// assert!(error.to_string().starts_with("layer 0 `head` (Conv2d)"), "{error}");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place(
    // Boxed: errors stay small where all goes well.
    Box<Path>,
);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Path {
    position: String,
    name: String,
}

impl Place {
    /// This place, seen from the container that holds it under `name` at `position`.
    fn inside(&mut self, position: usize, name: &str) {
        prepend(&mut self.0.position, &position.to_string());
        prepend(&mut self.0.name, name);
    }

    /// Position in the model, counted from 0; dotted inside nested models; empty outside a model.
    pub fn position(&self) -> &str {
        &self.0.position
    }

    /// Name in the model, dotted inside nested models; equal to the position where none was given.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

fn prepend(path: &mut String, segment: &str) {
    if path.is_empty() {
        path.push_str(segment);
    } else {
        path.insert(0, '.');
        path.insert_str(0, segment);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("layer")?;
        if !self.position().is_empty() {
            write!(f, " {}", self.position())?;
        }
        if self.name() != self.position() {
            write!(f, " `{}`", self.name())?;
        }
        Ok(())
    }
}

/// Everything that can go wrong in this crate.
///
/// Each text says where, what was needed, what was got and, where there is one, the cure.
///
/// ```
/// use layerwise::prelude::*;
///
/// let error = Sequential::builder([16, 5, 5]).add(Linear::new(10)).build().unwrap_err();
/// assert_eq!(error.to_string(), "layer 0 (Linear): needs [features], got [16, 5, 5]; add Flatten before it");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer cannot take the output of the one before it.
    #[error("{place} ({kind}): {cause}")]
    Shape {
        /// Where the layer stands.
        place: Place,
        /// Its kind, such as `Linear`.
        kind: &'static str,
        /// What it needs and what it got.
        cause: ShapeError,
    },
    /// A setting is outside its range.
    #[error("{place} ({kind}): {field} must be {must_be}, got {got}")]
    Config {
        /// Where the layer stands.
        place: Place,
        /// Its kind, such as `Conv2d`.
        kind: &'static str,
        /// The setting.
        field: &'static str,
        /// Its range.
        must_be: &'static str,
        /// What was given.
        got: String,
    },
    /// A user-defined layer reports a problem of its own; see [`Error::layer`].
    #[error("{place} ({kind}): {message}")]
    Layer {
        /// Where the layer stands.
        place: Place,
        /// Its kind.
        kind: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A setting outside any layer (optimizer, loss, batches) is outside its range.
    #[error("{kind}: {field} must be {must_be}, got {got}")]
    Setting {
        /// What was being set up, such as `Adam`.
        kind: &'static str,
        /// The setting.
        field: &'static str,
        /// Its range.
        must_be: &'static str,
        /// What was given.
        got: String,
    },
    /// A method that needs the whole Hessian was given too many variables.
    #[error(
        "Newton: needs at most {limit} variables, got {got}: the Hessian takes O(n²) memory and solving with it \
         O(n³) time; use Lbfgs, or raise max_variables"
    )]
    TooManyVariables {
        /// The most allowed.
        limit: usize,
        /// Variables given.
        got: usize,
    },
    /// The batch does not fit the model's input.
    #[error("input: {0}")]
    Input(ShapeError),
    /// The gradient given to `backward` does not fit the model's output.
    #[error("gradient of the output: {0}")]
    GradOutput(ShapeError),
    /// The prediction given to a loss, or the place for its gradient, has the wrong shape.
    #[error("prediction: {0}")]
    Prediction(ShapeError),
    /// A loss is not defined for an element of the prediction.
    #[error("prediction: element {element} must be {must_be}, got {got}; {cure}")]
    PredictionValue {
        /// Its index, in row-major order.
        element: usize,
        /// Its range.
        must_be: &'static str,
        /// Its value.
        got: String,
        /// What to do.
        cure: &'static str,
    },
    /// The target given to a loss does not fit the prediction.
    #[error("target: {0}")]
    Target(TargetError),
    /// Batch statistics need more values than the batch has.
    #[error(
        "{place} ({kind}): needs at least {needed} values per channel in train mode, got {got}; \
         use a larger batch, or freeze the layer"
    )]
    BatchTooSmall {
        /// Where the layer stands.
        place: Place,
        /// Its kind.
        kind: &'static str,
        /// Values per channel it needs.
        needed: usize,
        /// Values per channel in this batch.
        got: usize,
    },
    /// A batch's statistics are infinite or not a number: they would spoil the running ones for good.
    #[error(
        "{place} ({kind}): mean or variance of the batch is not finite; lower the learning rate, or check the data"
    )]
    BatchNotFinite {
        /// Where the layer stands.
        place: Place,
        /// Its kind.
        kind: &'static str,
    },
    /// `backward` found nothing remembered by a `forward`.
    #[error("backward without a matching forward; call `forward` first")]
    BackwardBeforeForward,
    /// A trainable parameter's gradient was never written since the last update.
    #[error(
        "parameter {name} is trainable but got no gradient since the last step; \
         call `backward` first, and see that its layer's `backward` writes it"
    )]
    MissingGradient {
        /// The parameter.
        name: String,
    },
    /// A loss, gradient or parameter is infinite or not a number. Nothing was changed.
    #[error(
        "{what} is not finite at step {step}; lower the learning rate, clip gradients, or check the data"
    )]
    NonFinite {
        /// What it is, such as `gradient of 0.weight`.
        what: String,
        /// The optimizer's step, from 1.
        step: u64,
    },
    /// A value does not fit the parameter or buffer it was meant for.
    #[error("{name}: {cause}")]
    Value {
        /// The parameter or buffer.
        name: String,
        /// What it needs and what it got.
        cause: ShapeError,
    },
    /// There is no memory for a parameter.
    #[error("parameter {name} of {shape} is too large for memory")]
    TooLarge {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Shape,
    },
    /// There is no memory for a batch between two layers. Nothing was changed.
    #[error(
        "no memory for a batch of {batch} samples of {numel} elements each; use a smaller batch"
    )]
    Memory {
        /// Samples in the batch.
        batch: usize,
        /// Elements of a sample, of the largest layer's output.
        numel: usize,
    },
    /// A model has no parameter or buffer of this name.
    #[error("no parameter or buffer is called {name}; there are {known}")]
    UnknownName {
        /// The name given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A saved state does not fit the model and its optimizer; see [`crate::optimizers::ModelOptimizer::set_state`].
    #[error("optimizer state: {}", problems.join("; "))]
    OptimizerState {
        /// Everything that does not fit.
        problems: Vec<String>,
    },
    /// Two layers of one model have the same name, or a name cannot be used in a path.
    #[error("layer {position} (Sequential): name must be {must_be}, got \"{name}\"")]
    Name {
        /// Position of the layer.
        position: usize,
        /// What a name must be.
        must_be: &'static str,
        /// The name given.
        name: String,
    },
    /// An analytic gradient differs from the finite difference; see [`crate::gradcheck`].
    #[error("gradient check of {0}")]
    GradCheck(Box<crate::gradcheck::Mismatch>),
    /// Samples and targets of a data set do not belong together, or an index is out of range.
    #[error("data set: {0}")]
    Data(String),
    /// A preprocessor or a fitted transform cannot take the samples.
    #[error("preprocessing: {0}")]
    Preprocessing(String),
    /// A metric is not defined for a value it was given.
    #[error("{metric}: {message}")]
    Metric {
        /// The metric, such as `Accuracy`.
        metric: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A trial of a search that makes no sense to go on with; see [`crate::search::Trial::report`].
    #[error("trial ended: {0}")]
    Aborted(String),
    /// What was read is not what its format asks for.
    #[error("{format}: {message}")]
    Format {
        /// The format, such as `IDX` or `CSV`.
        format: &'static str,
        /// Where, what was needed, and what was found.
        message: String,
    },
    /// A file of weights cannot be used; with everything that is wrong with it.
    #[error("{0}")]
    Weights(Box<crate::persist::FileProblems>),
    /// Reading or writing failed.
    #[error("cannot {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Reading or writing a file failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: std::path::PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// A problem of a user-defined layer, for its `forward`, `backward` or spec to return. The model
    /// adds name and position.
    ///
    /// ```
    /// let error = layerwise::Error::layer("Scale", "needs a finite factor, got NaN");
    /// assert_eq!(error.to_string(), "layer (Scale): needs a finite factor, got NaN");
    /// ```
    pub fn layer(kind: &'static str, message: impl Into<String>) -> Self {
        Self::Layer { place: Place::default(), kind, message: message.into() }
    }

    /// A setting outside its range, for a user-defined spec to return. The model adds name and position.
    ///
    /// ```
    /// let error = layerwise::Error::config("Scale", "features", "at least 1", 0);
    /// assert_eq!(error.to_string(), "layer (Scale): features must be at least 1, got 0");
    /// ```
    pub fn config(
        kind: &'static str,
        field: &'static str,
        must_be: &'static str,
        got: impl fmt::Display,
    ) -> Self {
        Self::Config { place: Place::default(), kind, field, must_be, got: got.to_string() }
    }

    /// A layer that does not fit its input, for a user-defined spec to return. The model adds name and
    /// position.
    ///
    /// ```
    /// use layerwise::{Error, Shape};
    ///
    /// let cause = Shape::from([2, 3]).features().unwrap_err();
    /// let text = Error::shape("Scale", cause).to_string();
    /// assert_eq!(text, "layer (Scale): needs [features], got [2, 3]; add Flatten before it");
    /// ```
    pub fn shape(kind: &'static str, cause: ShapeError) -> Self {
        Self::Shape { place: Place::default(), kind, cause }
    }

    /// A setting outside its range, for a user-defined optimizer or schedule to return.
    ///
    /// ```
    /// let error = layerwise::Error::setting("Halve", "every", "at least 1", 0);
    /// assert_eq!(error.to_string(), "Halve: every must be at least 1, got 0");
    /// ```
    pub fn setting(
        kind: &'static str,
        field: &'static str,
        must_be: &'static str,
        got: impl fmt::Display,
    ) -> Self {
        Self::Setting { kind, field, must_be, got: got.to_string() }
    }

    /// Whether numbers became infinite or not a number, as they do when the learning rate is too high.
    ///
    /// ```
    /// use layerwise::Error;
    ///
    /// let error = Error::NonFinite { what: "loss".into(), step: 7 };
    /// assert!(error.is_non_finite());
    /// ```
    pub fn is_non_finite(&self) -> bool {
        matches!(self, Self::NonFinite { .. } | Self::BatchNotFinite { .. })
    }

    /// A stream that is not what its format asks for.
    pub(crate) fn format(format: &'static str, message: impl Into<String>) -> Self {
        Self::Format { format, message: message.into() }
    }

    /// The same problem, of data that lie in the file at `path`.
    #[cfg(feature = "mmap")]
    pub(crate) fn in_file(self, path: &std::path::Path) -> Self {
        match self {
            Self::Format { format, message } => {
                Self::Format { format, message: format!("{}: {message}", path.display()) }
            }
            Self::Io { action, source } => Self::File { action, path: path.into(), source },
            other => other,
        }
    }

    /// The same problem of a layer that is part of one of another kind.
    pub(crate) fn of_kind(mut self, whole: &'static str) -> Self {
        if let Self::Shape { kind, .. } | Self::Config { kind, .. } = &mut self {
            *kind = whole;
        }
        self
    }

    /// The same problem, seen from the container that holds the layer.
    pub(crate) fn inside(mut self, index: usize, name: &str) -> Self {
        match &mut self {
            Self::Shape { place, .. }
            | Self::Config { place, .. }
            | Self::Layer { place, .. }
            | Self::BatchTooSmall { place, .. }
            | Self::BatchNotFinite { place, .. } => place.inside(index, name),
            _ => {}
        }
        self
    }
}

/// `Ok` if `valid`, else [`Error::setting`].
pub(crate) fn ensure(
    valid: bool,
    kind: &'static str,
    field: &'static str,
    must_be: &'static str,
    got: impl fmt::Display,
) -> Result<()> {
    if valid { Ok(()) } else { Err(Error::setting(kind, field, must_be, got)) }
}

/// A target that a loss cannot use.
///
/// ```
/// use layerwise::TargetError;
///
/// let error = TargetError::Class { class: 12, classes: 10, row: 3 };
/// assert_eq!(error.to_string(), "class 12 at row 3 is out of range: the prediction has 10 classes (0 to 9)");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// As many targets as rows are needed.
    #[error("needs {needed} rows like the prediction, got {got}")]
    Rows {
        /// Rows of the prediction.
        needed: usize,
        /// Rows of the target.
        got: usize,
    },
    /// A class index that the prediction has no column for.
    #[error(
        "class {class} at row {row} is out of range: the prediction has {classes} classes (0 to {})",
        .classes.saturating_sub(1)
    )]
    Class {
        /// The index given.
        class: usize,
        /// Columns of the prediction.
        classes: usize,
        /// The sample's row in the batch.
        row: usize,
    },
    /// The target's shape differs from the prediction's.
    #[error("{0}")]
    Shape(ShapeError),
}
