//! A pass with the randomness of training that leaves the model alone.

use super::{Sequential, pass};
use crate::{Mode, Result, Scalar, View, Workspace};

impl<F: Scalar> Sequential<F> {
    /// Runs a batch through the layers in train mode, in the caller's workspace, drawing from stream `pass`. Running
    /// statistics stay as they are; a layer whose statistics are fixed uses them.
    pub(crate) fn sample_with<'w>(
        &self,
        input: View<'_, F>,
        pass: u64,
        workspace: &'w mut Workspace<F>,
    ) -> Result<View<'w, F>> {
        let batch = self.check_input(&input)?;
        let seed = self.seed.fold_str("sample").fold(pass);
        pass::forward(&self.nodes, &self.input, workspace, input, batch, Mode::Train, seed)?;
        Ok(pass::output(&self.nodes, &self.input, workspace, batch))
    }
}
