//! What most programs need: `use layerwise::prelude::*;`.

pub use crate::activations::*;
pub use crate::data::Dataset;
pub use crate::initializers::*;
pub use crate::layers::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Flatten, GlobalAvgPool, Linear, LogSoftmax, MaxPool2d,
    Softmax,
};
pub use crate::losses::*;
pub use crate::optimizers::{Adam, AdamW, Clip, GroupOptions, ModelOptimizer, Sgd};
pub use crate::regularizers::*;
pub use crate::schedules::{ExponentialDecay, StepDecay};
pub use crate::training::Trainer;
pub use crate::{
    Activation, Backward, Block, Buffer, Cache, Constraint, Decay, Error, Fans, Forward, Group,
    Init, Initializer, Layer, LayerSpec, Loss, Mode, Optimizer, Param, ParamInfo, Regularizer,
    Result, Rng, Role, Scalar, Schedule, Seed, Sequential, SequentialBuilder, Shape, ShapeError,
    StepInfo, View, ViewMut, Workspace, layer_params,
};
pub use ndarray::{self, Array1, Array2, Array3, Array4, ArrayD, Axis};
