//! A nested model as one part of a layer, and a body beside a shortcut.

use super::{Block, NestedLayer};
use crate::kernels::combine;
use crate::layers::door;
use crate::workspace::{grown, view, view_mut};
use crate::{
    Backward, Cache, EntryMut, Error, Forward, Init, Layer, Result, Scalar, Shape, ShapeError,
    View, ViewMut, Visitor, VisitorMut,
};

/// A nested model under a name: its layers keep their names, modes, freezing and running statistics.
#[derive(Debug, Clone)]
pub(super) struct Branch<F: Scalar> {
    position: usize,
    name: String,
    model: NestedLayer<F>,
}

impl<F: Scalar> Branch<F> {
    pub(super) fn new(
        position: usize,
        name: &str,
        block: &Block<F>,
        input: &Shape,
        init: &Init,
    ) -> Result<Self> {
        let model =
            block.nested(input, &init.child(name)).map_err(|error| error.inside(position, name))?;
        Ok(Self { position, name: name.into(), model })
    }

    pub(super) fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.model.output_shape(input)
    }

    pub(super) fn prepare_inference(&mut self) -> Result<()> {
        self.model.prepare_inference()
    }

    #[cfg(feature = "serde")]
    pub(super) fn record(&self) -> Option<crate::persist::Record> {
        self.model.inner_record()
    }

    /// Runs on `pass.input`, into `output` and with a memory of its own.
    pub(super) fn forward(
        &self,
        pass: &mut Forward<'_, F>,
        output: ViewMut<'_, F>,
        cache: &mut Cache,
    ) -> Result<()> {
        let inner = Forward {
            input: pass.input.view(),
            output,
            cache,
            scratch: pass.scratch,
            mode: pass.mode,
            seed: pass.seed.fold_str(&self.name),
            // A nested model asks whether to keep, and keeps in its own workspace.
            kept: pass.kept.as_deref_mut(),
            remember: pass.remember,
            relu: false,
            lines: None,
        };
        self.model.forward(inner).map_err(|error| error.inside(self.position, &self.name))
    }

    pub(super) fn backward(
        &mut self,
        pass: &mut Backward<'_, F>,
        grad_output: View<'_, F>,
        grad_input: Option<ViewMut<'_, F>>,
        cache: &mut Cache,
    ) -> Result<()> {
        let inner = Backward {
            input: pass.input.view(),
            // A nested model has its own copy.
            output: grad_output.clone(),
            grad_output,
            grad_input,
            cache,
            scratch: pass.scratch,
            mode: pass.mode,
            seed: pass.seed.fold_str(&self.name),
            relu: false,
        };
        self.model.backward(inner).map_err(|error| error.inside(self.position, &self.name))
    }

    pub(super) fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        self.model.update_buffers(cache).map_err(|error| error.inside(self.position, &self.name))
    }

    /// Marks every gradient as written: it is zero where nothing ran.
    fn add_nothing(&mut self) {
        self.model.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry {
                param.grad_mut();
            }
        }));
    }

    pub(super) fn visit(&self, visitor: &mut Visitor<'_, F>) {
        visitor.child(&self.name, |visitor| self.model.visit(visitor));
    }

    pub(super) fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        visitor.child(&self.name, |visitor| self.model.visit_mut(visitor));
    }
}

/// `y = factor · body(x) + shortcut(x)`; the shortcut is the identity, or a projection.
#[derive(Debug, Clone)]
pub(super) struct Skip<F: Scalar> {
    body: Branch<F>,
    projection: Option<Branch<F>>,
    input: Shape,
    output: Shape,
}

/// What a [`Skip`] remembers.
#[derive(Debug, Default)]
struct Memory<F> {
    body: Cache,
    projection: Cache,
    /// On the body's output: one for the whole batch, or one for each sample.
    factors: Vec<F>,
    /// A projection's output, or a gradient: working memory.
    buffer: Vec<F>,
}

impl<F: Scalar> Memory<F> {
    /// Whether nobody asks for the body.
    fn dropped(&self) -> bool {
        self.factors.iter().all(|&factor| factor == F::zero())
    }
}

impl<F: Scalar> Skip<F> {
    pub(super) fn prepare_inference(&mut self) -> Result<()> {
        self.body.prepare_inference()?;
        self.projection.as_mut().map_or(Ok(()), Branch::prepare_inference)
    }

    /// What both are made of.
    #[cfg(feature = "serde")]
    pub(super) fn records(&self) -> [(&'static str, Option<crate::persist::Record>); 2] {
        let projection = self.projection.as_ref().and_then(Branch::record);
        [("body", self.body.record()), ("projection", projection)]
    }

    pub(super) fn new(
        kind: &'static str,
        body: &Block<F>,
        projection: Option<&Block<F>>,
        input: &Shape,
        init: &Init,
    ) -> Result<Self> {
        let body = Branch::new(0, "body", body, input, init)?;
        let projection = projection
            .map(|projection| Branch::new(1, "projection", projection, input, init))
            .transpose()?;
        let fits = |cause| Error::shape(kind, cause);
        let output = body.output_shape(input).map_err(fits)?;
        let shortcut = match &projection {
            Some(projection) => projection.output_shape(input).map_err(fits)?,
            None => input.clone(),
        };
        if output != shortcut {
            let needs = format!("a body whose output has the shortcut's shape {shortcut}");
            let hint = "change the body, or the projection; without one the shortcut is the input";
            return Err(fits(ShapeError::new(needs, output).hint(hint)));
        }
        Ok(Self { body, projection, input: input.clone(), output })
    }

    pub(super) fn output_shape(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.body.output_shape(input)
    }

    /// `factors` writes the factor of the whole batch, or one for each sample.
    pub(super) fn forward(
        &self,
        mut pass: Forward<'_, F>,
        factors: impl FnOnce(&mut Vec<F>),
    ) -> Result<()> {
        // Taken out of the pass, which the branches borrow.
        let mut cache = std::mem::take(pass.cache);
        let memory = cache.get_or_default::<Memory<F>>();
        memory.factors.clear();
        factors(&mut memory.factors);
        let done = self.sum(&mut pass, memory);
        *pass.cache = cache;
        done
    }

    fn sum(&self, pass: &mut Forward<'_, F>, memory: &mut Memory<F>) -> Result<()> {
        let dropped = memory.dropped();
        let batch = pass.input.shape()[0];
        let nothing = view_mut(0, &self.output, &mut []);
        let mut output = std::mem::replace(&mut pass.output, nothing);
        if !dropped {
            self.body.forward(pass, output.view_mut(), &mut memory.body)?;
        }
        let Memory { factors, buffer, projection: cache, .. } = memory;
        match &self.projection {
            None if dropped => output.assign(&pass.input),
            None => {
                let x = door::slice(&pass.input);
                door::change(&mut output, |y| combine::add(factors, &x, y));
            }
            Some(projection) if dropped => projection.forward(pass, output, cache)?,
            Some(projection) => {
                let shortcut = grown(buffer, batch, self.output.numel())?;
                let shape = &self.output;
                projection.forward(pass, view_mut(batch, shape, shortcut), cache)?;
                door::change(&mut output, |y| combine::add(factors, shortcut, y));
            }
        }
        Ok(())
    }

    pub(super) fn backward(&mut self, mut pass: Backward<'_, F>) -> Result<()> {
        let mut cache = std::mem::take(pass.cache);
        let done =
            cache.get_mut::<Memory<F>>().and_then(|memory| self.gradients(&mut pass, memory));
        *pass.cache = cache;
        done
    }

    fn gradients(&mut self, pass: &mut Backward<'_, F>, memory: &mut Memory<F>) -> Result<()> {
        let dropped = memory.dropped();
        let dy = pass.grad_output.clone();
        let mut grad_input = pass.grad_input.take();
        if dropped {
            self.body.add_nothing();
        } else {
            let dx = grad_input.as_mut().map(|dx| dx.view_mut());
            self.body_gradients(pass, dy.view(), dx, memory)?;
        }
        let Memory { buffer, projection: cache, .. } = memory;
        match (&mut self.projection, grad_input) {
            (None, None) => {}
            (None, Some(mut dx)) if dropped => dx.assign(&dy),
            (None, Some(mut dx)) => {
                let dy = door::slice(&dy);
                door::change(&mut dx, |dx| combine::add(&[F::one()], &dy, dx));
            }
            (Some(projection), Some(mut dx)) if !dropped => {
                let batch = dx.shape()[0];
                let share = grown(buffer, batch, self.input.numel())?;
                let view = view_mut(batch, &self.input, share);
                projection.backward(pass, dy, Some(view), cache)?;
                door::change(&mut dx, |dx| combine::add(&[F::one()], share, dx));
            }
            (Some(projection), dx) => projection.backward(pass, dy, dx, cache)?,
        }
        Ok(())
    }

    /// The body's own gradients, of its output times the factors.
    fn body_gradients(
        &mut self,
        pass: &mut Backward<'_, F>,
        dy: View<'_, F>,
        grad_input: Option<ViewMut<'_, F>>,
        memory: &mut Memory<F>,
    ) -> Result<()> {
        let Memory { body: cache, factors, buffer, .. } = memory;
        if factors.iter().all(|&factor| factor == F::one()) {
            return self.body.backward(pass, dy, grad_input, cache);
        }
        let batch = dy.shape()[0];
        let scaled = grown(buffer, batch, self.output.numel())?;
        combine::scale(factors, &door::slice(&dy), scaled);
        self.body.backward(pass, view(batch, &self.output, scaled), grad_input, cache)
    }

    pub(super) fn update_buffers(&mut self, cache: &Cache) -> Result<()> {
        let memory = cache.get::<Memory<F>>()?;
        if !memory.dropped() {
            self.body.update_buffers(&memory.body)?;
        }
        match &mut self.projection {
            Some(projection) => projection.update_buffers(&memory.projection),
            None => Ok(()),
        }
    }

    pub(super) fn visit(&self, visitor: &mut Visitor<'_, F>) {
        self.body.visit(visitor);
        if let Some(projection) = &self.projection {
            projection.visit(visitor);
        }
    }

    pub(super) fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        self.body.visit_mut(visitor);
        if let Some(projection) = &mut self.projection {
            projection.visit_mut(visitor);
        }
    }
}
