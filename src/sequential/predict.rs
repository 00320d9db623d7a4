//! Predictions over a list of nodes, for models and nested models alike.

use super::Node;
use super::pass::{copy, cost, largest, resize_caches};
use crate::kernels::norm::Line;
use crate::kernels::parallel;
use crate::workspace::{grown, view, view_mut};
use crate::{Error, Forward, Mode, Result, Scalar, Seed, Shape, View, Workspace};

/// Runs all layers in eval mode through two buffers in turn, remembering nothing.
pub(super) fn predict<'w, F: Scalar>(
    nodes: &[Node<F>],
    input_shape: &Shape,
    workspace: &'w mut Workspace<F>,
    input: View<'_, F>,
    batch: usize,
    seed: Seed,
) -> Result<View<'w, F>> {
    workspace.finished = None;
    resize_caches(nodes, workspace);
    for buffer in &mut workspace.grads {
        grown(buffer, batch, largest(nodes, input_shape))?;
    }
    let [mut current, mut next] = workspace.grads.each_mut().map(|buffer| &mut buffer[..]);
    let Workspace { caches, scratch, kept, keeps, lines, .. } = workspace;
    let current = parallel::enter(cost(nodes, input_shape, batch), || {
        // The first layer reads the caller's array, if that lies in one piece.
        let mut first = input.as_slice();
        if first.is_none() || !nodes.iter().any(Node::computes) {
            first = None;
            copy(&input, &mut current[..batch * input_shape.numel()]);
        }
        let mut shape = input_shape;
        let mut i = 0;
        while let Some(node) = nodes.get(i) {
            // The next node, if this one does its work.
            let done = nodes.get(i + 1).filter(|next| does_next(node, next, lines));
            let last = done.unwrap_or(node);
            if node.computes() {
                let input = first.take().unwrap_or(&current[..batch * shape.numel()]);
                let pass = Forward {
                    input: view(batch, shape, input),
                    output: view_mut(batch, &last.output, &mut next[..batch * last.output.numel()]),
                    cache: &mut caches[i],
                    scratch,
                    mode: Mode::Eval,
                    seed: seed.fold(node.stream),
                    kept: keeps.then(|| &mut kept[i]),
                    remember: false,
                    relu: last.relu,
                    lines: done.map(|_| &lines[..]),
                };
                node.layer.forward(pass).map_err(|error| error.inside(i, &node.name))?;
                std::mem::swap(&mut current, &mut next);
            }
            shape = &last.output;
            i += 1 + usize::from(done.is_some());
        }
        Ok::<_, Error>(current)
    })?;
    let shape = nodes.last().map_or(input_shape, |node| &node.output);
    Ok(view(batch, shape, &current[..batch * shape.numel()]))
}

/// Whether `node` does the work of `next` in a prediction: normalizes by these `lines`.
fn does_next<F: Scalar>(node: &Node<F>, next: &Node<F>, lines: &mut Vec<Line<F>>) -> bool {
    node.computes()
        && !node.relu
        && next.computes()
        && node.layer.applies_lines()
        && next.layer.eval_lines(lines)
}
