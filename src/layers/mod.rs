//! The layers. Each file holds a spec (what users write) and the layer it becomes.
//!
//! | spec | what it does |
//! |---|---|
//! | [`Linear`] | `y = x Wᵀ + b` |
//! | [`Conv2d`] | cross-correlation with learned kernels |
//! | [`MaxPool2d`], [`AvgPool2d`], [`GlobalAvgPool`] | pooling |
//! | [`FractionalMaxPool2d`] | pooling by a factor below 2, over random regions |
//! | [`BatchNorm`] | normalization by batch statistics |
//! | [`Maxout`], [`MaxoutConv2d`], [`MaxoutChannels`] | the largest of several linear functions |
//! | [`PRelu`] | leaky ReLU with a learned slope |
//! | [`Dropout`], [`AlphaDropout`] | random zeros while training, and their like for SELU |
//! | [`DropConnect`] | a linear layer with random zeros in its weight while training |
//! | [`GaussianNoise`], [`GaussianDropout`] | noise while training, added or multiplied |
//! | [`Softmax`], [`LogSoftmax`] | probabilities of scores, over one axis |
//! | [`Flatten`] | images to features |
//! | [`Lambda`] | a function of your own |
//!
//! Layers made of layers are [`crate::Block`], [`crate::Residual`], [`crate::StochasticDepth`], [`crate::Parallel`] and
//! [`crate::Sequential`] itself.
//!
//! Every [`crate::Activation`] is a spec as well; [`ActivationLayer`] is what it becomes.

mod activation;
mod alpha_dropout;
mod avg_pool;
mod batch_norm;
mod conv2d;
pub(crate) mod door;
mod drop_connect;
mod dropout;
mod flatten;
mod fractional_max_pool;
mod lambda;
mod linear;
mod max_pool;
mod maxout;
mod noise;
mod prelu;
mod softmax;
mod window;

pub use activation::ActivationLayer;
pub use alpha_dropout::{AlphaDropout, AlphaDropoutLayer};
pub use avg_pool::{AvgPool2d, AvgPool2dLayer, GlobalAvgPool, GlobalAvgPoolLayer};
pub use batch_norm::{BatchNorm, BatchNormLayer};
pub use conv2d::{Conv2d, Conv2dLayer};
pub use drop_connect::{DropConnect, DropConnectLayer, NoActivation};
pub use dropout::{Dropout, DropoutLayer};
pub use flatten::{Flatten, FlattenLayer};
pub use fractional_max_pool::{FractionalMaxPool2d, FractionalMaxPool2dLayer};
pub use lambda::{Lambda, LambdaLayer};
pub use linear::{Linear, LinearLayer};
pub use max_pool::{MaxPool2d, MaxPool2dLayer};
pub use maxout::{Maxout, MaxoutChannels, MaxoutChannelsLayer, MaxoutConv2d, MaxoutLayer};
pub use noise::{GaussianDropout, GaussianDropoutLayer, GaussianNoise, GaussianNoiseLayer};
pub use prelu::{PRelu, PReluLayer};
pub use softmax::{LogSoftmax, Softmax, SoftmaxLayer};
pub use window::{
    Pair, conv_output_size, conv_output_size_exact, pool_output_size, pool_output_size_exact,
};
