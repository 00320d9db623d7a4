//! The texts of what the layers that most libraries have refuse.

use layerwise::prelude::*;

use crate::errors::build_error;
use crate::support::text;

#[test]
fn normalization_refuses_what_it_cannot_normalize() {
    for (got, want) in [
        (
            build_error([4], LayerNorm::new().eps(0.0)),
            "layer 0 (LayerNorm): eps must be above 0, got 0",
        ),
        (
            build_error([4, 5], LayerNorm::new().last_axes(0)),
            "layer 0 (LayerNorm): last_axes must be at least 1 and at most the axes of a sample, got 0 for [4, 5]",
        ),
        (
            build_error([4, 5], LayerNorm::new().last_axes(3)),
            "layer 0 (LayerNorm): last_axes must be at least 1 and at most the axes of a sample, got 3 for [4, 5]",
        ),
        (
            build_error([8, 4, 4], GroupNorm::new(3)),
            "layer 0 (GroupNorm): groups must be a divisor of the channels, got 3 with 8 channels",
        ),
        (
            build_error([8, 4, 4], GroupNorm::new(0)),
            "layer 0 (GroupNorm): groups must be a divisor of the channels, got 0 with 8 channels",
        ),
        (
            build_error([8, 4, 4], GroupNorm::new(2).eps(f64::NAN)),
            "layer 0 (GroupNorm): eps must be above 0, got NaN",
        ),
        (
            build_error([4, 1, 1], GroupNorm::new(4)),
            "layer 0 (GroupNorm): needs at least 2 values to take a variance of, got [4, 1, 1]; use fewer groups",
        ),
        (
            build_error([4], InstanceNorm::new()),
            "layer 0 (InstanceNorm): needs at least 2 values to take a variance of, got [4]; use LayerNorm or GroupNorm",
        ),
        (
            build_error(Vec::<usize>::new(), InstanceNorm::new()),
            "layer 0 (InstanceNorm): needs [channels, ..], got []",
        ),
        (
            build_error(Vec::<usize>::new(), GroupNorm::new(1)),
            "layer 0 (GroupNorm): needs [channels, ..], got []",
        ),
        (
            build_error([4, 2], InstanceNorm::new().eps(-1.0)),
            "layer 0 (InstanceNorm): eps must be above 0, got -1",
        ),
        (
            build_error([4], LocalResponseNorm::new(5)),
            "layer 0 (LocalResponseNorm): needs [channels, ..] with at least one more axis, got [4]; \
             it normalizes the channels of images",
        ),
        (
            build_error([4, 2], LocalResponseNorm::new(0)),
            "layer 0 (LocalResponseNorm): size must be at least 1, got 0",
        ),
        (
            build_error([4, 2], LocalResponseNorm::new(5).alpha(-1.0)),
            "layer 0 (LocalResponseNorm): alpha must be finite and at least 0, got -1",
        ),
        (
            build_error([4, 2], LocalResponseNorm::new(5).beta(f64::INFINITY)),
            "layer 0 (LocalResponseNorm): beta must be finite, got inf",
        ),
        (
            build_error([4, 2], LocalResponseNorm::new(5).k(0.0)),
            "layer 0 (LocalResponseNorm): k must be finite and above 0, got 0",
        ),
    ] {
        assert_eq!(got, want);
    }
}

#[test]
fn layers_of_images_refuse_sizes_that_are_none() {
    for (got, want) in [
        (
            build_error([2, 4, 4], AdaptiveAvgPool2d::new((0, 3))),
            "layer 0 (AdaptiveAvgPool2d): output must be from 1 to 2^20 on both axes, got (0, 3)",
        ),
        (
            build_error([2, 4, 4], AdaptiveMaxPool2d::new(usize::MAX)),
            "layer 0 (AdaptiveMaxPool2d): output must be from 1 to 2^20 on both axes, \
             got (18446744073709551615, 18446744073709551615)",
        ),
        (
            build_error([4], GlobalMaxPool),
            "layer 0 (GlobalMaxPool): needs [channels, height, width], got [4]; \
             images have three axes; a grey image is [1, height, width]",
        ),
        (
            build_error([1, 70_000, 70_000], GlobalMaxPool),
            "layer 0 (GlobalMaxPool): needs a plane of fewer than 2^32 elements, got [1, 70000, 70000]",
        ),
        (
            build_error([2, 4, 4], Upsample::new((2, 0))),
            "layer 0 (Upsample): factor must be such that height and width are from 1 to 2^20, got (2, 0)",
        ),
        (
            build_error([2, 4, 4], Upsample::new(usize::MAX / 2)),
            "layer 0 (Upsample): factor must be such that height and width are from 1 to 2^20, \
             got (9223372036854775807, 9223372036854775807)",
        ),
        (
            build_error([2, 4, 4], Upsample::to((0, 1))),
            "layer 0 (Upsample): size must be such that height and width are from 1 to 2^20, got (0, 1)",
        ),
        (
            build_error([2, 4, 4], Upsample::new(2).align_corners(true)),
            "layer 0 (Upsample): align_corners must be false unless bilinear, got true",
        ),
        (
            build_error([2, 4, 4], ZeroPad::sides(0, 0, usize::MAX, 0)),
            "layer 0 (ZeroPad): padding must be at most 2^30 on each side, got 18446744073709551615",
        ),
        (
            build_error([4, 4], ZeroPad::new(1)),
            "layer 0 (ZeroPad): needs [channels, height, width], got [4, 4]; \
             images have three axes; a grey image is [1, height, width]",
        ),
        (
            build_error([2, 6], Reshape::new([5, 2])),
            "layer 0 (Reshape): needs 10 elements for the new shape [5, 2], got [2, 6]; \
             the new shape needs as many elements as the old",
        ),
        (
            build_error([2, 3, 4], Permute::new([0, 2])),
            "layer 0 (Permute): order must be every axis of a sample once, counted from 0, got [0, 2] for [2, 3, 4]",
        ),
        (
            build_error([2, 3, 4], Permute::new([0, 3, 1])),
            "layer 0 (Permute): order must be every axis of a sample once, counted from 0, got [0, 3, 1] for [2, 3, 4]",
        ),
        (
            build_error([2, 3], Permute::new([1, 1])),
            "layer 0 (Permute): order must be every axis of a sample once, counted from 0, got [1, 1] for [2, 3]",
        ),
    ] {
        assert_eq!(got, want);
    }
    // Refused by size, before anything is allocated.
    assert!(build_error([2, 4, 4], Upsample::to(1 << 20)).contains("fits memory"));
    assert!(build_error([2, 4, 4], AdaptiveAvgPool2d::new(1 << 20)).contains("fits memory"));
    assert!(build_error([2, 4, 4], ZeroPad::new(1 << 30)).contains("fits memory"));
}

#[test]
fn convolutions_refuse_what_does_not_fit() {
    let transposed = |change: fn(ConvTranspose2d) -> ConvTranspose2d| {
        build_error([3, 4, 4], change(ConvTranspose2d::new(4, 3)))
    };
    for (got, want) in [
        (
            build_error([3, 4, 4], Conv1d::new(4, 3)),
            "layer 0 (Conv1d): needs [channels, length], got [3, 4, 4]; \
             sequences have two axes; for images use Conv2d",
        ),
        (
            build_error([3, 4], Conv1d::new(4, 7).padding(1)),
            "layer 0 (Conv1d): needs a sequence at least as long as the kernel 7 with dilation 1 after padding 1, \
             got [3, 4]; use a smaller kernel or more padding",
        ),
        (
            build_error([3, 4], Conv1d::new(0, 3)),
            "layer 0 (Conv1d): filters must be at least 1, got 0",
        ),
        (
            build_error([3, 4], Conv1d::new(4, 0)),
            "layer 0 (Conv1d): kernel must be at least 1, got 0",
        ),
        (
            build_error([3, 4], Conv1d::new(4, 3).stride(0)),
            "layer 0 (Conv1d): stride must be at least 1, got 0",
        ),
        (
            build_error([3, 4], Conv1d::new(4, 3).dilation(0)),
            "layer 0 (Conv1d): dilation must be at least 1, got 0",
        ),
        (
            build_error([3, 4], Conv1d::new(4, 3).groups(2)),
            "layer 0 (Conv1d): groups must be a divisor of channels and filters, got 2 with 3 channels and 4 filters",
        ),
        (
            build_error([3], ConvTranspose2d::new(4, 3)),
            "layer 0 (ConvTranspose2d): needs [channels, height, width], got [3]; \
             images have three axes; a grey image is [1, height, width]",
        ),
        (
            build_error([3, 4, 4], ConvTranspose2d::new(0, 3)),
            "layer 0 (ConvTranspose2d): filters must be at least 1, got 0",
        ),
        (
            build_error([3, 4, 4], ConvTranspose2d::new(4, (3, 0))),
            "layer 0 (ConvTranspose2d): kernel must be at least 1, got (3, 0)",
        ),
        (
            transposed(|conv| conv.stride(0)),
            "layer 0 (ConvTranspose2d): stride must be at least 1, got (0, 0)",
        ),
        (
            transposed(|conv| conv.dilation((0, 1))),
            "layer 0 (ConvTranspose2d): dilation must be at least 1, got (0, 1)",
        ),
        (
            transposed(|conv| conv.groups(0)),
            "layer 0 (ConvTranspose2d): groups must be a divisor of channels and filters, \
             got 0 with 3 channels and 4 filters",
        ),
        (
            transposed(|conv| conv.stride(2).output_padding(2)),
            "layer 0 (ConvTranspose2d): output_padding must be below the stride or below the dilation, got (2, 2)",
        ),
        (
            transposed(|conv| conv.padding(3)),
            "layer 0 (ConvTranspose2d): needs an image that gives from 1 to 2^30 rows and columns with kernel (3, 3), \
             stride (1, 1), padding (3, 3), got [3, 4, 4]; use less padding",
        ),
    ] {
        assert_eq!(got, want);
    }
    let huge = usize::MAX / 2;
    assert!(transposed(|conv| conv.stride(usize::MAX / 2)).contains("from 1 to 2^30 rows"));
    assert!(transposed(|conv| conv.stride(1 << 27)).contains("fits memory"));
    assert!(build_error([3, 4], Conv1d::new(4, 3).padding(huge)).contains("as long as the kernel"));
    assert!(build_error([3, 4], Conv1d::new(4, huge)).contains("as long as the kernel"));
}

#[test]
fn sequences_refuse_what_is_none() {
    for (got, want) in [
        (
            build_error([4], Embedding::new(0, 3)),
            "layer 0 (Embedding): vocabulary must be at least 1, got 0",
        ),
        (
            build_error([4], Embedding::new(3, 0)),
            "layer 0 (Embedding): dim must be at least 1, got 0",
        ),
        (
            build_error([4], Embedding::new(3, 2).padding(3)),
            "layer 0 (Embedding): padding must be below the vocabulary, got 3",
        ),
        (
            build_error([4], Embedding::new((1 << 24) + 2, 1)),
            "layer 0 (Embedding): vocabulary must be at most 2^24 + 1 in f32, which skips whole numbers beyond; \
             use f64 or fewer ids, got 16777218",
        ),
        (
            build_error([4], Lstm::new(3)),
            "layer 0 (Lstm): needs [steps, features], got [4]; \
             for ids put Embedding before it, for images Reshape or Permute",
        ),
        (
            build_error([1, 4, 4], Rnn::new(3)),
            "layer 0 (Rnn): needs [steps, features], got [1, 4, 4]; \
             for ids put Embedding before it, for images Reshape or Permute",
        ),
        (build_error([4, 2], Gru::new(0)), "layer 0 (Gru): hidden must be at least 1, got 0"),
        (
            build_error([4, 2], Lstm::new(3).truncate(0)),
            "layer 0 (Lstm): truncate must be at least 1 step, got 0",
        ),
    ] {
        assert_eq!(got, want);
    }
    assert!(build_error([4, 2], Lstm::new(usize::MAX / 2)).contains("too large for memory"));
    assert!(build_error([4, 2], Rnn::new(1 << 45)).contains("too large for memory"));
}

#[test]
fn an_id_outside_the_vocabulary_is_named_with_its_place() {
    let mut model =
        Sequential::builder([2]).add(Relu).add(Embedding::new(3, 2)).build().expect("it fits");
    let mut error = |ids: [[f32; 2]; 2]| text(model.forward(&ndarray::arr2(&ids)).map(|_| ()));
    for (got, ids) in [
        ("3 at position 1 of sample 1", [[0.0, 1.0], [2.0, 3.0]]),
        ("0.5 at position 0 of sample 0", [[0.5, 1.0], [2.0, 1.0]]),
        ("NaN at position 0 of sample 1", [[0.0, 1.0], [f32::NAN, 1.0]]),
        ("inf at position 1 of sample 0", [[0.0, f32::INFINITY], [2.0, 1.0]]),
    ] {
        let want = format!(
            "layer 1 (Embedding): needs ids that are whole numbers from 0 to 2, got id {got}; \
             enlarge the vocabulary, or give unknown things an id of their own"
        );
        assert_eq!(error(ids), want);
    }
    let negative = Sequential::builder([1]).add(Embedding::new(3, 2)).build().expect("it fits");
    assert!(text(negative.predict(&ndarray::arr2(&[[-1.0]]))).contains("got id -1"));
}
