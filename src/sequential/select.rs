//! Parameters by name: reading, freezing, grouping, regularizing.

use std::sync::Arc;

use ndarray::ArrayD;

use super::Sequential;
use crate::{
    Constraint, Entry, EntryMut, Error, Group, IntoView, Param, ParamInfo, Regularizer, Result,
    Scalar, Statistics, Visitor, VisitorMut,
};

/// Selectors return how many parameters they touched, so that a typo shows.
impl<F: Scalar> Sequential<F> {
    /// Shows every parameter and buffer, in order, with dotted names.
    pub fn visit(&self, visitor: &mut Visitor<'_, F>) {
        for node in &self.nodes {
            visitor.child(&node.name, |visitor| node.layer.visit(visitor));
        }
    }

    /// Like [`Sequential::visit`], and the visitor may change what it sees.
    pub fn visit_mut(&mut self, visitor: &mut VisitorMut<'_, F>) {
        for node in &mut self.nodes {
            visitor.child(&node.name, |visitor| node.layer.visit_mut(visitor));
        }
    }

    /// Every parameter, in order.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// let names: Vec<String> = model.params().map(|p| p.name).collect();
    /// assert_eq!(names, ["0.weight", "0.bias"]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn params(&self) -> impl Iterator<Item = ParamInfo> + use<F> {
        let mut infos = Vec::new();
        self.visit(&mut Visitor::new(&mut |name, entry| {
            if let Entry::Param(param) = entry {
                infos.push(ParamInfo::new(name, param));
            }
        }));
        infos.into_iter()
    }

    /// A copy of the parameter of this name, with its gradient. To look without copying, see
    /// [`Sequential::visit`].
    pub fn param(&self, name: &str) -> Option<Param<F>> {
        let mut found = None;
        self.visit(&mut Visitor::new(&mut |entry_name, entry| {
            if let (Entry::Param(param), true) = (entry, entry_name.is(name)) {
                found = Some(param.clone());
            }
        }));
        found
    }

    /// A copy of the value of the parameter or buffer of this name.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let model = Sequential::builder([3]).add(BatchNorm::new()).build()?;
    /// assert_eq!(model.value("0.running_var").unwrap().as_slice().unwrap(), [1.0, 1.0, 1.0]);
    /// assert!(model.value("0.running").is_none());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn value(&self, name: &str) -> Option<ArrayD<F>> {
        let mut found = None;
        self.visit(&mut Visitor::new(&mut |entry_name, entry| {
            if entry_name.is(name) {
                found = Some(match entry {
                    Entry::Param(param) => param.value().to_owned(),
                    Entry::Buffer(buffer) => buffer.value().to_owned(),
                });
            }
        }));
        found
    }

    /// Sets the parameter or buffer of this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none; [`Error::Value`] if its shape differs.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([2]).add(Linear::new(1)).build()?;
    /// model.set_value("0.weight", &ndarray::arr2(&[[1.0, 2.0]]))?;
    /// let error = model.set_value("1.weight", &ndarray::arr1(&[1.0])).unwrap_err();
    /// assert_eq!(error.to_string(), "no parameter or buffer is called 1.weight; there are 0.weight, 0.bias");
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_value<'a>(&mut self, name: &str, value: impl IntoView<'a, F>) -> Result<()> {
        let value = value.into_view();
        let mut result = None;
        self.visit_mut(&mut VisitorMut::new(&mut |entry_name, entry| {
            if result.is_none() && entry_name.is(name) {
                result = Some(match entry {
                    EntryMut::Param(param) => param.set_value(value.view()),
                    EntryMut::Buffer(buffer) => buffer.set_value(value.view()),
                });
            }
        }));
        match result {
            Some(result) => result.map_err(|cause| Error::Value { name: name.into(), cause }),
            None => Err(self.unknown(name)),
        }
    }

    pub(super) fn unknown(&self, name: &str) -> Error {
        let mut known = Vec::new();
        self.visit(&mut Visitor::new(&mut |name, _| known.push(name.to_string())));
        Error::UnknownName { name: name.into(), known: known.join(", ") }
    }

    /// Freezes the selected parameters: no optimizer changes them, and a layer whose parameters are all
    /// frozen runs in eval mode, so its running statistics stand still; [`Sequential::set_statistics`] says
    /// otherwise. Survives [`Sequential::train`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(3)).add_named("head", Linear::new(2)).build()?;
    /// assert_eq!(model.freeze(|p| !p.name.starts_with("head.")), 2);
    /// assert_eq!(model.unfreeze(|_| true), 2);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn freeze(&mut self, select: impl Fn(&ParamInfo) -> bool) -> usize {
        self.each_selected(
            |info| info.trainable && select(info),
            |param| param.set_trainable(false),
        )
    }

    /// Lets the selected parameters learn again. Counts those that were frozen.
    pub fn unfreeze(&mut self, select: impl Fn(&ParamInfo) -> bool) -> usize {
        self.each_selected(
            |info| !info.trainable && select(info),
            |param| param.set_trainable(true),
        )
    }

    /// Says what the running statistics of the selected names do in training: names of buffers, such as
    /// `1.running_mean`. Returns how many there were. Survives [`Sequential::train`].
    ///
    /// [`Statistics::Fixed`] holds still a batch norm that [`Sequential::freeze`] cannot, because it has no
    /// parameters (`affine(false)`), or whose parameters shall learn on. [`Statistics::Follow`] lets one go on
    /// following the batches while its parameters are frozen.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([3]).add(BatchNorm::new().affine(false)).build()?;
    /// assert_eq!(model.set_statistics(Statistics::Fixed, |name| name.starts_with("0.")), 2);
    /// model.forward(&Array2::from_elem((4, 3), 8.0))?;
    /// assert_eq!(model.value("0.running_mean").unwrap().sum(), 0.0);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_statistics(
        &mut self,
        statistics: Statistics,
        select: impl Fn(&str) -> bool,
    ) -> usize {
        let mut count = 0;
        self.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
            if let EntryMut::Buffer(buffer) = entry
                && select(&name.to_string())
            {
                buffer.set_statistics(statistics);
                count += 1;
            }
        }));
        count
    }

    /// Moves the selected parameters into a group; see [`crate::optimizers::ModelOptimizer::group`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// assert_eq!(model.assign_group(Group::new(1), |p| p.role == Role::Bias), 1);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn assign_group(&mut self, group: Group, select: impl Fn(&ParamInfo) -> bool) -> usize {
        self.each_selected(select, |param| param.set_group(group))
    }

    /// Divides the parameters into groups by their names, from the lowest layers up, each going to the
    /// first pattern that [`ParamInfo::matches`]; those that match none stay where they are. Returns one group for
    /// each pattern, numbered from 1, for [`crate::optimizers::ModelOptimizer::differential`].
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a pattern that no parameter went to; nothing is changed then.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(3)).add_named("head", Linear::new(2)).build()?;
    /// let groups = model.layer_groups(&["0.*", "head.*"])?;
    /// assert_eq!(groups, [Group::new(1), Group::new(2)]);
    /// assert!(model.layer_groups(&["head.*", "heda.*"]).is_err());
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn layer_groups(&mut self, patterns: &[&str]) -> Result<Vec<Group>> {
        let group_of = |info: &ParamInfo| patterns.iter().position(|p| info.matches(p));
        let used: Vec<_> = self.params().filter_map(|info| group_of(&info)).collect();
        if let Some(unused) = (0..patterns.len()).find(|i| !used.contains(i)) {
            return Err(self.unknown(patterns[unused]));
        }
        let too_many =
            || Error::setting("layer_groups", "patterns", "fewer than 65536", patterns.len());
        let count = u16::try_from(patterns.len()).map_err(|_| too_many())?;
        let groups: Vec<Group> = (1..=count).map(Group::new).collect();
        for (i, &group) in groups.iter().enumerate() {
            self.assign_group(group, |info| group_of(info) == Some(i));
        }
        Ok(groups)
    }

    /// Puts a penalty on the selected parameters, in place of the one they had; see
    /// [`Sequential::regularize`].
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// assert_eq!(model.set_regularizer(L2(1e-4), ParamInfo::is_weight), 1);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_regularizer(
        &mut self,
        regularizer: impl Regularizer<F> + 'static,
        select: impl Fn(&ParamInfo) -> bool,
    ) -> usize {
        let regularizer: Arc<dyn Regularizer<F>> = Arc::new(regularizer);
        self.each_selected(select, |param| param.set_regularizer(Some(regularizer.clone())))
    }

    /// Removes the penalty from the selected parameters.
    pub fn clear_regularizer(&mut self, select: impl Fn(&ParamInfo) -> bool) -> usize {
        self.each_selected(select, |param| param.set_regularizer(None))
    }

    /// Puts a limit on the selected parameters, in place of the one they had: an optimizer's step brings them back inside
    /// after every update. A frozen parameter is not touched.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([4]).add(Linear::new(2)).build()?;
    /// assert_eq!(model.set_constraint(MaxNorm(3.0), ParamInfo::is_weight), 1);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn set_constraint(
        &mut self,
        constraint: impl Constraint<F> + 'static,
        select: impl Fn(&ParamInfo) -> bool,
    ) -> usize {
        let constraint: Arc<dyn Constraint<F>> = Arc::new(constraint);
        self.each_selected(select, |param| param.set_constraint(Some(constraint.clone())))
    }

    /// Removes the limit from the selected parameters.
    pub fn clear_constraint(&mut self, select: impl Fn(&ParamInfo) -> bool) -> usize {
        self.each_selected(select, |param| param.set_constraint(None))
    }

    /// Adds every penalty's derivative to the gradients of trainable parameters and returns the sum of
    /// the penalties. Call it between `backward` and the optimizer's step; a trainer does.
    ///
    /// ```
    /// use layerwise::prelude::*;
    ///
    /// let mut model = Sequential::builder([1]).add(Linear::new(1)).build()?;
    /// model.set_value("0.weight", &ndarray::arr2(&[[3.0]]))?;
    /// model.set_regularizer(L2(0.5), |p| p.role == Role::Weight);
    /// assert_eq!(model.regularize(), 2.25); // ½ · 0.5 · 3²
    /// assert_eq!(model.param("0.weight").unwrap().grad().unwrap()[[0, 0]], 1.5);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn regularize(&mut self) -> F {
        let mut total = F::zero();
        self.visit_mut(&mut VisitorMut::new(&mut |_, entry| {
            if let EntryMut::Param(param) = entry {
                total += param.regularize();
            }
        }));
        total
    }

    /// Forgets all gradients gathered since the last update. An optimizer's step does it for the
    /// gradients it uses: only needed to throw gradients away.
    pub fn zero_grad(&mut self) {
        self.each_selected(|_| true, Param::zero_grad);
    }

    fn each_selected(
        &mut self,
        select: impl Fn(&ParamInfo) -> bool,
        mut change: impl FnMut(&mut Param<F>),
    ) -> usize {
        let mut count = 0;
        self.visit_mut(&mut VisitorMut::new(&mut |name, entry| {
            if let EntryMut::Param(param) = entry
                && select(&ParamInfo::new(name, param))
            {
                change(param);
                count += 1;
            }
        }));
        count
    }
}
