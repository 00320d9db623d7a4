//! What most programs need: `use layerwise::prelude::*;`.

pub use crate::activations::*;
pub use crate::data::{Batches, Dataset, Loader, Source};
pub use crate::initializers::*;
pub use crate::layers::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, AlphaDropout, AvgPool2d, BatchNorm, Conv1d, Conv2d,
    ConvTranspose2d, DropConnect, Dropout, Embedding, Flatten, FractionalMaxPool2d,
    GaussianDropout, GaussianNoise, GlobalAvgPool, GlobalMaxPool, GroupNorm, Gru, InstanceNorm,
    Lambda, LayerNorm, Linear, LocalResponseNorm, LogSoftmax, Lstm, MaxPool2d, Maxout,
    MaxoutChannels, MaxoutConv2d, PRelu, Permute, Reshape, Rnn, Softmax, Upsample, ZeroPad,
};
pub use crate::losses::*;
pub use crate::metrics::{Accuracy, accuracy};
pub use crate::optimizers::{
    AdaDelta, AdaGrad, Adam, AdamW, Adamax, Clip, GroupOptions, Lbfgs, Lion, ModelOptimizer, NAdam,
    Newton, RAdam, RmsProp, Sgd,
};
pub use crate::regularizers::*;
pub use crate::schedules::{
    Cosine, Cyclic, ExponentialDecay, InverseTime, LinearWarmup, MultiStep, OneCycle, Polynomial,
    ReduceOnPlateau, SnapshotCycles, StepDecay, WarmRestarts,
};
pub use crate::training::{Callback, EarlyStopping, ModelObjective, Trainer};
pub use crate::{
    Activation, Backward, Block, Buffer, Cache, Constraint, Decay, Error, Fans, Forward, Group,
    Init, Initializer, Layer, LayerSpec, Loss, Metric, Minimizer, Minimum, Mode, Objective,
    Optimizer, Parallel, Param, ParamInfo, Regularizer, Residual, Result, Rng, Role, Scalar,
    Schedule, Seed, Sequential, SequentialBuilder, Shape, ShapeError, Statistics, StepInfo,
    StochasticDepth, View, ViewMut, Workspace, layer_params,
};
pub use ndarray::{self, Array1, Array2, Array3, Array4, ArrayD, Axis};
