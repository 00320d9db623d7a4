//! The Rust side of `pytorch.py`: `exchange FOLDER` reads what PyTorch saved, writes outputs and weights of its own.

use std::path::Path;

use layerwise::data::read_npy;
use layerwise::persist::Storage;
use layerwise::prelude::*;

type Done<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The networks of `pytorch.py`, in the same order and with the same sizes.
fn networks() -> Result<Vec<(&'static str, Sequential)>> {
    let mlp = Sequential::builder([20])
        .add(Linear::new(32))
        .add(BatchNorm::new())
        .add(Relu)
        .add(Dropout::new(0.3))
        .add(Linear::new(5));
    let convnet = Sequential::builder([3, 16, 16])
        .add(Conv2d::new(16, 3).padding(1).bias(false))
        .add(BatchNorm::new())
        .add(LeakyRelu::new(0.1))
        .add(Conv2d::new(16, 3).stride(2).padding(1).groups(4))
        .add(Gelu)
        .add(MaxPool2d::new(2))
        .add(Block::new().add(Conv2d::new(24, 3).dilation(2).padding(2)).add(Silu))
        .add(AvgPool2d::new(2))
        .add(Flatten)
        .add(Linear::new(7));
    Ok(vec![("mlp", mlp.seed(3).build()?), ("convnet", convnet.seed(4).build()?)])
}

fn main() -> Done {
    let folder = std::env::args().nth(1).ok_or("usage: exchange FOLDER")?;
    let folder = Path::new(&folder);
    for (name, mut model) in networks()? {
        let x = read_npy::<f32>(std::fs::File::open(folder.join(format!("{name}_x.npy")))?)?;
        for kind in ["f32", "f64", "f16", "bf16"] {
            let mut theirs = model.clone();
            let loaded = theirs.load(folder.join(format!("{name}_{kind}.safetensors")))?;
            assert!(loaded.missing.is_empty() && loaded.left_over.is_empty(), "{loaded:?}");
            write_output(&theirs, &x, &folder.join(format!("{name}_{kind}_y.safetensors")))?;
        }
        // Running statistics and weights of this side's own.
        for _ in 0..3 {
            model.forward(&x)?;
        }
        for (kind, storage) in [
            ("f32", Storage::F32),
            ("f64", Storage::F64),
            ("f16", Storage::F16),
            ("bf16", Storage::Bf16),
        ] {
            let path = folder.join(format!("ours_{name}_{kind}.safetensors"));
            model.save_as(&path, storage)?;
            let mut rounded = model.clone();
            rounded.load(&path)?;
            write_output(&rounded, &x, &folder.join(format!("ours_{name}_{kind}_y.safetensors")))?;
        }
    }
    Ok(())
}

/// The output as the only tensor `y` of a file.
fn write_output(model: &Sequential, x: &ArrayD<f32>, path: &Path) -> Done {
    let y = model.predict(x)?;
    let bytes: Vec<u8> = y.iter().flat_map(|y| y.to_le_bytes()).collect();
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, y.shape().into(), &bytes)?;
    std::fs::write(path, safetensors::serialize([("y", view)], None)?)?;
    Ok(())
}
