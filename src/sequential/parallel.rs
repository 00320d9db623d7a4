//! Several branches on one input.

use super::Block;
use super::branch::Branch;
use crate::kernels::combine;
use crate::layers::door;
use crate::workspace::{grown, view, view_mut};
use crate::{
    Backward, Cache, Error, Forward, Init, Layer, LayerSpec, Result, Scalar, Shape, ShapeError,
    Visitor, VisitorMut,
};

/// Gives one input to several blocks and joins what they give: side by side along the first axis, or summed up.
///
/// An empty block passes its input on: `Parallel::concat().branch(Block::new()).branch(…)` is a layer of DenseNet.
///
/// # Shape
/// input `[n, ..]` → output `[n, c₁ + c₂ + …, ..]` for branches of `[n, cᵢ, ..]` that agree in all but the first axis, the
/// channels or features; of a sum, the shape that all branches have. Parameters are called `0.…`, `1.…` by branch.
///
/// # Examples
/// ```
/// use layerwise::prelude::*;
///
/// // The idea of Inception: kernels of several sizes.
/// let branch = |kernel| Block::new().add(Conv2d::new(4, kernel).padding(kernel / 2)).add(Relu);
/// let inception = Parallel::concat().branch(branch(1)).branch(branch(3)).branch(branch(5));
/// let model = Sequential::builder([3, 8, 8]).add(inception).build()?;
/// assert_eq!(model.output_shape().dims(), [12, 8, 8]);
/// assert!(model.param("0.2.0.weight").is_some());
///
/// let twice = Parallel::sum().branch(Block::new()).branch(Block::new());
/// let model = Sequential::builder([2]).add(twice).build()?;
/// assert_eq!(model.predict(&ndarray::arr2(&[[3.0, -1.0]]))?.as_slice().unwrap(), [6.0, -2.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// Building fails with [`Error::Config`] without branches, and with [`Error::Shape`] for branches that do not fit together.
///
/// # References
/// Szegedy et al. 2015 (Inception); Huang et al. 2017 (DenseNet).
#[doc(alias = "Concat")]
#[derive(Debug)]
pub struct Parallel<F: Scalar = f32> {
    join: Join,
    branches: Vec<Block<F>>,
}

/// How outputs become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Concat,
    Sum,
}

impl<F: Scalar> Parallel<F> {
    /// Outputs side by side along the first axis: channels, or features.
    pub fn concat() -> Self {
        Self { join: Join::Concat, branches: Vec::new() }
    }

    /// The sum of the outputs.
    pub fn sum() -> Self {
        Self { join: Join::Sum, branches: Vec::new() }
    }

    /// Adds a branch, named after its position.
    pub fn branch(mut self, block: Block<F>) -> Self {
        self.branches.push(block);
        self
    }
}

impl<F: Scalar> LayerSpec<F> for Parallel<F> {
    #[cfg(feature = "serde")]
    fn record(&self) -> crate::persist::Record {
        let names: Vec<String> = (0..self.branches.len()).map(|i| i.to_string()).collect();
        let branches = names.iter().zip(&self.branches);
        let branches = branches.map(|(name, branch)| (&**name, Some(branch.record())));
        crate::persist::Record::with_inner("Parallel", &(self.join == Join::Sum), branches)
    }

    fn build(&self, input: &Shape, init: &mut Init) -> Result<Box<dyn Layer<F>>> {
        if self.branches.is_empty() {
            return Err(Error::config("Parallel", "branches", "at least 1", 0));
        }
        let mut branches = Vec::new();
        for (position, block) in self.branches.iter().enumerate() {
            let branch = Branch::new(position, &position.to_string(), block, input, init)?;
            let output =
                branch.output_shape(input).map_err(|cause| Error::shape("Parallel", cause))?;
            branches.push(Part { branch, output });
        }
        let layer = ParallelLayer { join: self.join, input: input.clone(), branches };
        layer.joined().map_err(|cause| Error::shape("Parallel", cause))?;
        Ok(Box::new(layer))
    }
}

/// What [`Parallel`] becomes.
#[derive(Debug, Clone)]
pub struct ParallelLayer<F: Scalar = f32> {
    join: Join,
    input: Shape,
    branches: Vec<Part<F>>,
}

#[derive(Debug, Clone)]
struct Part<F: Scalar> {
    branch: Branch<F>,
    output: Shape,
}

/// What the layer remembers: what its branches do; and working memory for one branch's output or gradients.
#[derive(Debug, Default)]
struct Memory<F> {
    branches: Vec<Cache>,
    output: Vec<F>,
    input: Vec<F>,
}

impl<F: Scalar> ParallelLayer<F> {
    /// Shape of the joined outputs.
    fn joined(&self) -> Result<Shape, ShapeError> {
        let first = &self.branches[0].output;
        let (Some((_, rest)), Join::Concat) = (first.dims().split_first(), self.join) else {
            return self.same_shape(first);
        };
        let mut total = 0usize;
        for Part { output, .. } in &self.branches {
            match output.dims().split_first() {
                Some((&len, others)) if others == rest => total = total.saturating_add(len),
                _ => {
                    let needs =
                        format!("branches that agree with {first} in all but the first axis");
                    return Err(misfit(needs, output));
                }
            }
        }
        Ok([&[total], rest].concat().into())
    }

    fn same_shape(&self, first: &Shape) -> Result<Shape, ShapeError> {
        match self.branches.iter().find(|part| part.output != *first) {
            Some(part) => Err(misfit(format!("branches of one shape {first}"), &part.output)),
            None => Ok(first.clone()),
        }
    }
}

fn misfit(needs: String, output: &Shape) -> ShapeError {
    ShapeError::new(needs, output).hint("change padding, stride or filters of that branch")
}

impl<F: Scalar> Layer<F> for ParallelLayer<F> {
    fn kind(&self) -> &'static str {
        "Parallel"
    }

    fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        input.require(self.input.dims(), "the shape it was built for").and_then(|_| self.joined())
    }

    fn forward(&self, mut pass: Forward<'_, F>) -> Result<()> {
        // Taken out of the pass, which the branches borrow.
        let mut cache = std::mem::take(pass.cache);
        let memory = cache.get_or_default::<Memory<F>>();
        let done = self.join_outputs(&mut pass, memory);
        *pass.cache = cache;
        done
    }

    fn backward(&mut self, mut pass: Backward<'_, F>) -> Result<()> {
        let mut cache = std::mem::take(pass.cache);
        let done =
            cache.get_mut::<Memory<F>>().and_then(|memory| self.gradients(&mut pass, memory));
        *pass.cache = cache;
        done
    }

    fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        let memory = cache.get::<Memory<F>>()?;
        for (part, cache) in self.branches.iter_mut().zip(&memory.branches) {
            part.branch.update_buffers(cache)?;
        }
        Ok(())
    }

    fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.branches.iter().for_each(|part| part.branch.visit(visitor));
    }

    fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.branches.iter_mut().for_each(|part| part.branch.visit_mut(visitor));
    }

    fn is_container(&self) -> bool {
        true
    }

    fn prepare_inference(&mut self) -> Result<()> {
        self.branches.iter_mut().try_for_each(|part| part.branch.prepare_inference())
    }

    #[cfg(feature = "serde")]
    fn inner_record(&self) -> Option<crate::persist::Record> {
        let names: Vec<String> = (0..self.branches.len()).map(|i| i.to_string()).collect();
        let branches = names.iter().zip(&self.branches);
        let branches = branches.map(|(name, part)| (&**name, part.branch.record()));
        let sum = self.join == Join::Sum;
        Some(crate::persist::Record::with_inner("Parallel", &sum, branches))
    }
}

impl<F: Scalar> ParallelLayer<F> {
    fn join_outputs(&self, pass: &mut Forward<'_, F>, memory: &mut Memory<F>) -> Result<()> {
        memory.branches.resize_with(self.branches.len(), Cache::default);
        let batch = pass.input.shape()[0];
        let total = pass.output.len() / batch.max(1);
        let nothing = view_mut(0, &self.input, &mut []);
        let mut joined = std::mem::replace(&mut pass.output, nothing);
        let mut first = 0;
        for (part, cache) in self.branches.iter().zip(&mut memory.branches) {
            let width = part.output.numel();
            let output = grown(&mut memory.output, batch, width)?;
            part.branch.forward(pass, view_mut(batch, &part.output, output), cache)?;
            door::change(&mut joined, |y| match self.join {
                Join::Concat => combine::put_columns(output, width, y, total, first),
                Join::Sum if first == 0 => y.copy_from_slice(output),
                Join::Sum => combine::add(&[F::one()], output, y),
            });
            first += width;
        }
        Ok(())
    }

    fn gradients(&mut self, pass: &mut Backward<'_, F>, memory: &mut Memory<F>) -> Result<()> {
        let batch = pass.input.shape()[0];
        let dy = pass.grad_output.clone();
        let dy = door::slice(&dy);
        let total = dy.len() / batch.max(1);
        let mut sum = pass.grad_input.take();
        let mut first = 0;
        for (part, cache) in self.branches.iter_mut().zip(&mut memory.branches) {
            let width = part.output.numel();
            let share = match self.join {
                Join::Sum => &dy[..],
                Join::Concat => {
                    let share = grown(&mut memory.output, batch, width)?;
                    combine::take_columns(&dy, total, first, share, width);
                    share
                }
            };
            let share = view(batch, &part.output, share);
            match &mut sum {
                None => part.branch.backward(pass, share, None, cache)?,
                Some(sum) if first == 0 => {
                    part.branch.backward(pass, share, Some(sum.view_mut()), cache)?;
                }
                Some(sum) => {
                    let dx = grown(&mut memory.input, batch, self.input.numel())?;
                    let view = view_mut(batch, &self.input, dx);
                    part.branch.backward(pass, share, Some(view), cache)?;
                    door::change(sum, |sum| combine::add(&[F::one()], dx, sum));
                }
            }
            first += width;
        }
        Ok(())
    }
}
