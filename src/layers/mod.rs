//! The layers. Each file holds a spec (what users write) and the layer it becomes.
//!
//! | spec | what it does |
//! |---|---|
//! | [`Linear`] | `y = x Wᵀ + b` |
//! | [`Conv2d`], [`Conv1d`] | cross-correlation with learned kernels |
//! | [`ConvTranspose2d`] | its gradient, as a layer: larger images |
//! | [`MaxPool2d`], [`AvgPool2d`], [`GlobalMaxPool`], [`GlobalAvgPool`] | pooling |
//! | [`AdaptiveMaxPool2d`], [`AdaptiveAvgPool2d`] | pooling to a given size |
//! | [`FractionalMaxPool2d`] | pooling by a factor below 2, over random regions |
//! | [`Upsample`] | images of another size |
//! | [`ZeroPad`] | a border of zeros |
//! | [`BatchNorm`] | normalization by batch statistics |
//! | [`LayerNorm`], [`GroupNorm`], [`InstanceNorm`] | normalization by the sample's own statistics |
//! | [`LocalResponseNorm`] | normalization by neighbouring channels |
//! | [`Maxout`], [`MaxoutConv2d`], [`MaxoutChannels`] | the largest of several linear functions |
//! | [`PRelu`] | leaky ReLU with a learned slope |
//! | [`Dropout`], [`AlphaDropout`] | random zeros while training, and their like for SELU |
//! | [`DropConnect`] | a linear layer with random zeros in its weight while training |
//! | [`GaussianNoise`], [`GaussianDropout`] | noise while training, added or multiplied |
//! | [`Embedding`] | learned vectors for numbered things |
//! | [`Rnn`], [`Lstm`], [`Gru`] | sequences, step by step |
//! | [`Softmax`], [`LogSoftmax`] | probabilities of scores, over one axis |
//! | [`Flatten`], [`Reshape`] | another shape for the same elements: images to features |
//! | [`Permute`] | axes in another order |
//! | [`Lambda`] | a function of your own |
//!
//! Layers made of layers are [`crate::Block`], [`crate::Residual`], [`crate::StochasticDepth`], [`crate::Parallel`] and
//! [`crate::Sequential`] itself.
//!
//! Every [`crate::Activation`] is a spec as well; [`ActivationLayer`] is what it becomes.

mod activation;
mod adaptive_pool;
mod alpha_dropout;
mod avg_pool;
mod batch_norm;
mod conv1d;
mod conv2d;
mod conv_transpose2d;
pub(crate) mod door;
mod drop_connect;
mod dropout;
mod embedding;
mod flatten;
mod fractional_max_pool;
mod lambda;
mod linear;
mod max_pool;
mod maxout;
mod noise;
mod permute;
mod prelu;
mod recurrent;
mod reshape;
mod response_norm;
mod sample_norm;
mod softmax;
mod upsample;
mod window;
mod zero_pad;

pub use activation::ActivationLayer;
pub use adaptive_pool::{
    AdaptiveAvgPool2d, AdaptiveAvgPool2dLayer, AdaptiveMaxPool2d, AdaptiveMaxPool2dLayer,
    GlobalMaxPool,
};
pub use alpha_dropout::{AlphaDropout, AlphaDropoutLayer};
pub use avg_pool::{AvgPool2d, AvgPool2dLayer, GlobalAvgPool, GlobalAvgPoolLayer};
pub use batch_norm::{BatchNorm, BatchNormLayer};
pub use conv_transpose2d::{ConvTranspose2d, ConvTranspose2dLayer};
pub use conv1d::{Conv1d, Conv1dLayer};
pub use conv2d::{Conv2d, Conv2dLayer};
pub use drop_connect::{DropConnect, DropConnectLayer, NoActivation};
pub use dropout::{Dropout, DropoutLayer};
pub use embedding::{Embedding, EmbeddingLayer};
pub use flatten::{Flatten, FlattenLayer};
pub use fractional_max_pool::{FractionalMaxPool2d, FractionalMaxPool2dLayer};
pub use lambda::{Lambda, LambdaLayer};
pub use linear::{Linear, LinearLayer};
pub use max_pool::{MaxPool2d, MaxPool2dLayer};
pub use maxout::{Maxout, MaxoutChannels, MaxoutChannelsLayer, MaxoutConv2d, MaxoutLayer};
pub use noise::{GaussianDropout, GaussianDropoutLayer, GaussianNoise, GaussianNoiseLayer};
pub use permute::{Permute, PermuteLayer};
pub use prelu::{PRelu, PReluLayer};
pub use recurrent::{Gru, Lstm, RecurrentLayer, Rnn};
pub use reshape::{Reshape, ReshapeLayer};
pub use response_norm::{LocalResponseNorm, LocalResponseNormLayer};
pub use sample_norm::{GroupNorm, InstanceNorm, LayerNorm, SampleNormLayer};
pub use softmax::{LogSoftmax, Softmax, SoftmaxLayer};
pub use upsample::{Upsample, UpsampleLayer};
pub use window::{
    Pair, conv_output_size, conv_output_size_exact, pool_output_size, pool_output_size_exact,
};
pub use zero_pad::{ZeroPad, ZeroPadLayer};
