//! Forward and backward over a list of nodes, for models and nested models alike.

use super::Node;
use crate::kernels::aligned::Aligned;
use crate::kernels::parallel::{self, Cost};
use crate::workspace::{grown, view, view_mut};
use crate::{
    Backward, Cache, Entry, Error, Forward, Kept, Layer, Mode, Result, Scalar, Seed, Shape,
    Statistics, View, ViewMut, Visitor, Workspace,
};

/// Copies the input in and runs all layers, each into a buffer of its own.
pub(super) fn forward<F: Scalar>(
    nodes: &[Node<F>],
    input_shape: &Shape,
    workspace: &mut Workspace<F>,
    input: View<'_, F>,
    batch: usize,
    mode: Mode,
    seed: Seed,
) -> Result<()> {
    workspace.finished = None;
    prepare(nodes, input_shape, workspace, batch)?;
    parallel::enter(cost(nodes, input_shape, batch), || {
        copy(&input, &mut workspace.slots[0][..batch * input_shape.numel()]);
        let mut shape = input_shape;
        let mut slot = 0;
        for (i, node) in nodes.iter().enumerate() {
            let mode = mode_of(&*node.layer, mode);
            workspace.modes[i] = mode;
            if node.computes() {
                let (done, rest) = workspace.slots.split_at_mut(node.slot);
                let pass = Forward {
                    input: view(batch, shape, &done[slot][..batch * shape.numel()]),
                    output: view_mut(
                        batch,
                        &node.output,
                        &mut rest[0][..batch * node.output.numel()],
                    ),
                    cache: &mut workspace.caches[i],
                    scratch: &mut workspace.scratch,
                    mode,
                    seed: seed.fold(node.stream),
                    kept: None,
                    remember: true,
                    relu: node.relu,
                    lines: None,
                };
                node.layer.forward(pass).map_err(|error| error.inside(i, &node.name))?;
            }
            (shape, slot) = (&node.output, node.slot);
        }
        Ok::<_, Error>(())
    })?;
    workspace.finished = Some((batch, seed));
    Ok(())
}

/// The last layer's output.
pub(super) fn output<'w, F: Scalar>(
    nodes: &[Node<F>],
    input_shape: &Shape,
    workspace: &'w Workspace<F>,
    batch: usize,
) -> View<'w, F> {
    let (shape, slot) = nodes.last().map_or((input_shape, 0), |node| (&node.output, node.slot));
    view(batch, shape, &workspace.slots[slot][..batch * shape.numel()])
}

/// Moves what the pass learned into the layers that ran in train mode.
pub(super) fn update_buffers<F: Scalar>(
    nodes: &mut [Node<F>],
    workspace: &Workspace<F>,
) -> Result<()> {
    for (i, node) in nodes.iter_mut().enumerate() {
        if workspace.modes[i] == Mode::Train && node.computes() {
            node.layer
                .update_buffers(&workspace.caches[i])
                .map_err(|error| error.inside(i, &node.name))?;
        }
    }
    Ok(())
}

/// Propagates `grad_output` down: into `grad_input` if given, else to the lowest trainable layer.
pub(super) fn backward<F: Scalar>(
    nodes: &mut [Node<F>],
    input_shape: &Shape,
    workspace: &mut Workspace<F>,
    grad_output: View<'_, F>,
    grad_input: Option<ViewMut<'_, F>>,
) -> Result<()> {
    let (batch, seed) = workspace.finished.ok_or(Error::BackwardBeforeForward)?;
    let lowest = if grad_input.is_some() { 0 } else { lowest_trainable(nodes) };
    let largest = largest(nodes, input_shape);
    for buffer in &mut workspace.grads {
        grown(buffer, batch, largest)?;
    }
    let total = cost(nodes, input_shape, batch);
    let Workspace { slots, grads, caches, modes, scratch, .. } = workspace;
    let [mut current, mut next] = grads.each_mut().map(|buffer| &mut buffer[..]);
    let bottom = (lowest..nodes.len()).find(|&i| nodes[i].computes());
    let Some(bottom) = bottom else {
        // Nothing that computes: the gradient is the input's.
        if let Some(mut grad_input) = grad_input {
            copy_elements(grad_output.iter(), &mut grad_input);
        }
        return Ok(());
    };
    // Layers below that only reshape leave the bottom layer another shape than the input's.
    let bottom_shape = bottom.checked_sub(1).map_or(input_shape, |below| &nodes[below].output);
    let (mut direct, reshaped) = match grad_input {
        Some(grad) if grad.shape()[1..] == *bottom_shape.dims() => (Some(grad), None),
        other => (None, other),
    };
    let (bottom_len, wants_reshaped) = (batch * bottom_shape.numel(), reshaped.is_some());
    parallel::enter(total, || {
        let mut top = Some(grad_output);
        for i in (bottom..nodes.len()).rev() {
            let (below, rest) = nodes.split_at_mut(i);
            let node = &mut rest[0];
            if !node.computes() {
                continue;
            }
            let (shape, slot) =
                below.last().map_or((input_shape, 0), |node| (&node.output, node.slot));
            let len = batch * node.output.numel();
            // The caller's gradient may have any layout and another rank of the same elements.
            let grad_output = match top.take() {
                Some(grad) if grad.shape()[1..] == *node.output.dims() => grad,
                Some(grad) => {
                    copy(&grad, &mut current[..len]);
                    view(batch, &node.output, &current[..len])
                }
                None => view(batch, &node.output, &current[..len]),
            };
            let pass = Backward {
                input: view(batch, shape, &slots[slot][..batch * shape.numel()]),
                output: view(batch, &node.output, &slots[node.slot][..len]),
                grad_output,
                grad_input: if i > bottom || wants_reshaped {
                    Some(view_mut(batch, shape, &mut next[..batch * shape.numel()]))
                } else {
                    direct.take()
                },
                cache: &mut caches[i],
                scratch,
                mode: modes[i],
                seed: seed.fold(node.stream),
                relu: node.relu,
            };
            node.layer.backward(pass).map_err(|error| error.inside(i, &node.name))?;
            std::mem::swap(&mut current, &mut next);
        }
        if let Some(mut grad_input) = reshaped {
            copy_elements(current[..bottom_len].iter(), &mut grad_input);
        }
        Ok(())
    })
}

/// Writes elements in row-major order into an array of any shape and layout.
fn copy_elements<'a, F: Scalar>(from: impl Iterator<Item = &'a F>, to: &mut ViewMut<'_, F>) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Makes room for a training pass.
fn prepare<F: Scalar>(
    nodes: &[Node<F>],
    input_shape: &Shape,
    workspace: &mut Workspace<F>,
    batch: usize,
) -> Result<()> {
    resize_caches(nodes, workspace);
    let slots = nodes.last().map_or(0, |node| node.slot) + 1;
    if workspace.slots.len() < slots {
        workspace.slots.resize_with(slots, Aligned::default);
    }
    grown(&mut workspace.slots[0], batch, input_shape.numel())?;
    for node in nodes {
        grown(&mut workspace.slots[node.slot], batch, node.output.numel())?;
    }
    Ok(())
}

pub(super) fn resize_caches<F: Scalar>(nodes: &[Node<F>], workspace: &mut Workspace<F>) {
    if workspace.caches.len() < nodes.len() {
        workspace.caches.resize_with(nodes.len(), Cache::default);
        workspace.modes.resize(nodes.len(), Mode::Eval);
        workspace.kept.resize_with(nodes.len(), Kept::default);
    }
}

/// Elements of the largest sample between layers.
pub(super) fn largest<F: Scalar>(nodes: &[Node<F>], input_shape: &Shape) -> usize {
    nodes.iter().map(|node| node.output.numel()).fold(input_shape.numel(), usize::max)
}

/// An estimate of a pass: every layer's multiply-adds, every output once.
pub(super) fn cost<F: Scalar>(nodes: &[Node<F>], input_shape: &Shape, batch: usize) -> Cost {
    let work = nodes.iter().fold(0usize, |work, node| work.saturating_add(node.work));
    let elements =
        nodes.iter().map(|node| node.output.numel()).fold(input_shape.numel(), |a, b| a + b);
    Cost::mul_adds(work.saturating_mul(batch)) + Cost::elements(elements.saturating_mul(batch))
}

pub(super) fn copy<F: Scalar>(from: &View<'_, F>, to: &mut [F]) {
    match from.as_slice() {
        Some(slice) => parallel::copy(slice, to),
        None => {
            for (to, &from) in to.iter_mut().zip(from.iter()) {
                *to = from;
            }
        }
    }
}

/// Freezing means freezing: a layer whose parameters are all frozen runs in eval mode, unless its statistics
/// were told otherwise.
fn mode_of<F: Scalar>(layer: &dyn Layer<F>, mode: Mode) -> Mode {
    if mode == Mode::Eval || layer.is_container() {
        return mode;
    }
    let (mut parameters, mut trainable, mut told) = (0, 0, Statistics::Auto);
    layer.visit(&mut Visitor::new(&mut |_, entry| match entry {
        Entry::Param(param) => {
            parameters += 1;
            trainable += usize::from(param.trainable());
        }
        // What stands still wins: it would be wrong for one of two statistics to move.
        Entry::Buffer(buffer) if told != Statistics::Fixed => {
            if buffer.statistics() != Statistics::Auto {
                told = buffer.statistics();
            }
        }
        Entry::Buffer(_) => {}
    }));
    match told {
        Statistics::Auto if parameters > 0 && trainable == 0 => Mode::Eval,
        Statistics::Fixed => Mode::Eval,
        _ => Mode::Train,
    }
}

/// Index of the first layer with a trainable parameter; the number of layers if there is none.
fn lowest_trainable<F: Scalar>(nodes: &[Node<F>]) -> usize {
    let trainable = |node: &Node<F>| {
        let mut found = false;
        node.layer.visit(&mut Visitor::new(&mut |_, entry| {
            if let Entry::Param(param) = entry {
                found |= param.trainable();
            }
        }));
        found
    };
    nodes.iter().position(trainable).unwrap_or(nodes.len())
}
