//! Files of weights that PyTorch wrote: they load under PyTorch's names, and give PyTorch's outputs.

use layerwise::Scalar;
use layerwise::persist::WeightsFile;

use super::cases::Set;
use super::check::{Check, Done};
use super::networks::build;

pub(super) fn check<F: Scalar>(check: &mut Check<'_, F>) -> Done {
    let path = Set::get().dir.join(check.config().text("file")?);
    same_keys(check, &WeightsFile::open(&path)?)?;
    let Some(mut model) = build(check)? else {
        check.set_aside("y");
        return Ok(());
    };
    let loaded = model.load(&path)?;
    if !loaded.not_finite.is_empty() {
        return Err(format!("not finite: {:?}", loaded.not_finite).into());
    }
    let x = check.tensor("x")?;
    let y = model.predict(&x)?;
    check.same("y", &y)?;
    // And back.
    let mut again = build(check)?.ok_or("the network was built before")?;
    again.load_bytes(&model.to_bytes()?)?;
    if again.predict(&x)? != y {
        return Err("saving and loading changed the output".into());
    }
    Ok(())
}

/// What the case says is in the file.
fn same_keys<F: Scalar>(check: &Check<'_, F>, weights: &WeightsFile<'_>) -> Done {
    let keys = check.config().section("keys")?;
    for tensor in weights.tensors() {
        let shape = keys.section(&tensor.name)?.sizes("shape")?;
        if tensor.shape.dims() != shape {
            return Err(format!("{}: shape {shape:?}, got {}", tensor.name, tensor.shape).into());
        }
    }
    Ok(())
}
