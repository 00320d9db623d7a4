//! Walking over the parameters and buffers of a layer or a whole model, with dotted names.

use std::fmt;

use crate::{Buffer, Group, Param, Role, Scalar, Shape};

/// Dotted name of a parameter: a chain of segments on the stack. It costs nothing until it is displayed.
#[derive(Debug, Clone, Copy)]
pub struct ParamName<'a> {
    parent: Option<&'a ParamName<'a>>,
    segment: &'a str,
}

impl ParamName<'_> {
    /// Whether this is the dotted `name`, without building it.
    pub(crate) fn is(&self, name: &str) -> bool {
        match self.parent {
            None => name == self.segment,
            Some(parent) => name
                .strip_suffix(self.segment)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| parent.is(rest)),
        }
    }
}

impl fmt::Display for ParamName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.segment)
    }
}

/// What a [`Visitor`] shows.
#[derive(Debug)]
#[non_exhaustive]
pub enum Entry<'a, F: Scalar = f32> {
    /// A learned array.
    Param(&'a Param<F>),
    /// A saved array.
    Buffer(&'a Buffer<F>),
}

impl<'a, F: Scalar> Entry<'a, F> {
    pub(crate) fn shape(&self) -> &'a [usize] {
        match self {
            Self::Param(param) => param.shape(),
            Self::Buffer(buffer) => buffer.shape(),
        }
    }

    pub(crate) fn as_slice(&self) -> &'a [F] {
        match self {
            Self::Param(param) => param.as_slice(),
            Self::Buffer(buffer) => buffer.as_slice(),
        }
    }
}

/// What a [`VisitorMut`] shows.
#[derive(Debug)]
#[non_exhaustive]
pub enum EntryMut<'a, F: Scalar = f32> {
    /// A learned array.
    Param(&'a mut Param<F>),
    /// A saved array.
    Buffer(&'a mut Buffer<F>),
}

impl<'a, F: Scalar> EntryMut<'a, F> {
    /// Takes these elements, as many as it has, in row-major order.
    pub(crate) fn replace(self, values: Vec<F>) {
        match self {
            Self::Param(param) => param.replace(values),
            Self::Buffer(buffer) => buffer.replace(values),
        }
    }

    pub(crate) fn into_slice_mut(self) -> &'a mut [F] {
        match self {
            Self::Param(param) => param.as_slice_mut(),
            Self::Buffer(buffer) => buffer.as_slice_mut(),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A field that can be visited: [`Param`], [`Buffer`], or an `Option` of one.
pub trait Field<F: Scalar>: sealed::Sealed {
    #[doc(hidden)]
    fn entry(&self) -> Option<Entry<'_, F>>;
    #[doc(hidden)]
    fn entry_mut(&mut self) -> Option<EntryMut<'_, F>>;
}

impl<F: Scalar> sealed::Sealed for Param<F> {}
impl<F: Scalar> Field<F> for Param<F> {
    fn entry(&self) -> Option<Entry<'_, F>> {
        Some(Entry::Param(self))
    }
    fn entry_mut(&mut self) -> Option<EntryMut<'_, F>> {
        Some(EntryMut::Param(self))
    }
}

impl<F: Scalar> sealed::Sealed for Buffer<F> {}
impl<F: Scalar> Field<F> for Buffer<F> {
    fn entry(&self) -> Option<Entry<'_, F>> {
        Some(Entry::Buffer(self))
    }
    fn entry_mut(&mut self) -> Option<EntryMut<'_, F>> {
        Some(EntryMut::Buffer(self))
    }
}

impl<T: sealed::Sealed> sealed::Sealed for Option<T> {}
impl<F: Scalar, T: Field<F>> Field<F> for Option<T> {
    fn entry(&self) -> Option<Entry<'_, F>> {
        self.as_ref()?.entry()
    }
    fn entry_mut(&mut self) -> Option<EntryMut<'_, F>> {
        self.as_mut()?.entry_mut()
    }
}

/// Sees every parameter and buffer, in order. Layers call [`Visitor::field`], containers
/// [`Visitor::child`]; most layers write both `visit` methods with [`crate::layer_params!`].
pub struct Visitor<'v, F: Scalar = f32> {
    path: Option<&'v ParamName<'v>>,
    each: &'v mut dyn FnMut(&ParamName<'_>, Entry<'_, F>),
}

impl<'v, F: Scalar> Visitor<'v, F> {
    /// A visitor that calls `each` with the name and the entry.
    ///
    /// ```
    /// use layerwise::prelude::*;
    /// use layerwise::Visitor;
    ///
    /// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// let mut names = Vec::new();
    /// model.visit(&mut Visitor::new(&mut |name, _| names.push(name.to_string())));
    /// assert_eq!(names, ["0.weight", "0.bias"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn new(each: &'v mut dyn FnMut(&ParamName<'_>, Entry<'_, F>)) -> Self {
        Self { path: None, each }
    }

    /// Shows one field under `name`.
    pub fn field(&mut self, name: &str, field: &impl Field<F>) {
        if let Some(entry) = field.entry() {
            (self.each)(&ParamName { parent: self.path, segment: name }, entry);
        }
    }

    /// Shows what `visit` shows, with `name` in front.
    pub fn child(&mut self, name: &str, visit: impl FnOnce(&mut Visitor<'_, F>)) {
        let path = ParamName { parent: self.path, segment: name };
        visit(&mut Visitor { path: Some(&path), each: &mut *self.each });
    }
}

impl<F: Scalar> fmt::Debug for Visitor<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Like [`Visitor`], and may change what it sees.
pub struct VisitorMut<'v, F: Scalar = f32> {
    path: Option<&'v ParamName<'v>>,
    each: &'v mut dyn FnMut(&ParamName<'_>, EntryMut<'_, F>),
}

impl<'v, F: Scalar> VisitorMut<'v, F> {
    /// A visitor that calls `each` with the name and the entry.
    pub fn new(each: &'v mut dyn FnMut(&ParamName<'_>, EntryMut<'_, F>)) -> Self {
        Self { path: None, each }
    }

    /// Shows one field under `name`.
    pub fn field(&mut self, name: &str, field: &mut impl Field<F>) {
        if let Some(entry) = field.entry_mut() {
            (self.each)(&ParamName { parent: self.path, segment: name }, entry);
        }
    }

    /// Shows what `visit` shows, with `name` in front.
    pub fn child(&mut self, name: &str, visit: impl FnOnce(&mut VisitorMut<'_, F>)) {
        let path = ParamName { parent: self.path, segment: name };
        visit(&mut VisitorMut { path: Some(&path), each: &mut *self.each });
    }
}

impl<F: Scalar> fmt::Debug for VisitorMut<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VisitorMut").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Writes `visit` and `visit_mut` of a [`crate::Layer`] together, so that they cannot drift apart: list
/// the fields that are a [`Param`], a [`Buffer`] or an `Option` of one. In a layer that is generic over
/// its element, put the type first: `layer_params!(F; weight, bias)`.
///
/// ```
/// # use layerwise::prelude::*;
/// #[derive(Debug, Clone)]
/// struct Shift { bias: Param }
///
/// impl Layer for Shift {
///     fn kind(&self) -> &'static str { "Shift" }
///     fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
///         input.require(self.bias.shape(), "[features]")
///     }
///     fn forward(&self, mut pass: Forward<'_>) -> Result<()> {
///         pass.output.assign(&(&pass.input + &self.bias.value()));
///         Ok(())
///     }
///     fn backward(&mut self, pass: Backward<'_>) -> Result<()> {
///         if let Some(mut grad) = self.bias.grad_mut() {
///             grad += &pass.grad_output.sum_axis(Axis(0));
///         }
///         if let Some(mut grad_input) = pass.grad_input {
///             grad_input.assign(&pass.grad_output);
///         }
///         Ok(())
///     }
///     layer_params!(bias);
/// }
///
/// let bias = Param::new(ndarray::arr1(&[0.5, 1.5]).into_dyn(), Role::Bias);
/// let model = Sequential::builder([2]).add_layer(Shift { bias }).build()?;
/// assert_eq!(model.params().next().unwrap().name, "0.bias");
/// # Ok::<(), layerwise::Error>(())
/// ```
#[macro_export]
macro_rules! layer_params {
    ($scalar:ty; $($field:ident),* $(,)?) => {
        fn visit(&self, visitor: &mut $crate::Visitor<'_, $scalar>) {
            $(visitor.field(stringify!($field), &self.$field);)*
        }
        fn visit_mut(&mut self, visitor: &mut $crate::VisitorMut<'_, $scalar>) {
            $(visitor.field(stringify!($field), &mut self.$field);)*
        }
    };
    ($($field:ident),* $(,)?) => {
        $crate::layer_params!(f32; $($field),*);
    };
}

/// Whether `name` is like `pattern`, in which each `*` stands for any characters.
pub(crate) fn matches(name: &str, pattern: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return name == pattern };
    // The shortest match of a part leaves most to those after it.
    name.strip_prefix(start).is_some_and(|name| {
        name.char_indices().map(|(at, _)| &name[at..]).chain([""]).any(|name| matches(name, rest))
    })
}

/// What a selector sees of one parameter.
///
/// ```
/// use layerwise::prelude::*;
///
/// let mut model = Sequential::builder([4]).add(Linear::new(3)).add(Linear::new(2)).build()?;
/// let frozen = model.freeze(|p| p.name.starts_with("0.") && p.role == Role::Weight);
/// assert_eq!(frozen, 1);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParamInfo {
    /// Dotted name, such as `0.weight`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Length of each axis.
    pub shape: Shape,
    /// Whether an optimizer may change it.
    pub trainable: bool,
    /// The group it belongs to.
    pub group: Group,
}

impl ParamInfo {
    /// Whether the name is like `pattern`, in which each `*` stands for any characters, dots included.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let features = Block::new().add(Linear::new(3)).add(Linear::new(3));
    /// let mut model = Sequential::builder([4]).add_named("features", features).add(Linear::new(2)).build()?;
    /// assert_eq!(model.freeze(|p| p.matches("features.*")), 4);
    /// assert_eq!(model.unfreeze(|p| p.matches("features.*.bias")), 2);
    /// assert_eq!(model.unfreeze(|p| p.matches("features")), 0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn matches(&self, pattern: &str) -> bool {
        matches(&self.name, pattern)
    }

    pub(crate) fn new<F: Scalar>(name: &ParamName<'_>, param: &Param<F>) -> Self {
        Self {
            name: name.to_string(),
            role: param.role(),
            shape: param.shape().into(),
            trainable: param.trainable(),
            group: param.group(),
        }
    }

    /// Whether it multiplies an input: not a bias, not a normalization layer's scale or shift, not a learned slope. A selector for
    /// penalties and limits.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([4]).add(Linear::new(2)).add(BatchNorm::new()).build()?;
    /// let weights: Vec<String> = model.params().filter(ParamInfo::is_weight).map(|p| p.name).collect();
    /// assert_eq!(weights, ["0.weight"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn is_weight(&self) -> bool {
        self.role == Role::Weight
    }
}
