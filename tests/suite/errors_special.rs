//! Texts of the course's special layers: where, need, got, cure.

use layerwise::layers::Lambda;
use layerwise::prelude::*;
use layerwise::{LayerSpec, SequentialBuilder};

use crate::support::text;

fn error(input: impl Into<Shape>, spec: impl LayerSpec<f32> + 'static) -> String {
    text(SequentialBuilder::new(input).add(spec).build())
}

#[test]
fn a_setting_out_of_range_names_its_range() {
    let drop = "a probability to drop, 0 ≤ p < 1";
    let cases: Vec<(String, String)> = vec![
        (error([4], Maxout::new(0, 2)), "(Maxout): out_features must be at least 1, got 0".into()),
        (error([4], Maxout::new(2, 0)), "(Maxout): pieces must be at least 1, got 0".into()),
        (
            error([1, 4, 4], MaxoutConv2d::new(0, 3, 2)),
            "(MaxoutConv2d): filters must be at least 1, got 0".into(),
        ),
        (
            error([1, 4, 4], MaxoutConv2d::new(2, 3, 0)),
            "(MaxoutConv2d): pieces must be at least 1, got 0".into(),
        ),
        (
            error([1, 4, 4], MaxoutConv2d::new(2, 3, 2).stride(0)),
            "(MaxoutConv2d): stride must be at least 1, got (0, 0)".into(),
        ),
        (
            error([4], MaxoutChannels::new(0)),
            "(MaxoutChannels): pieces must be at least 1, got 0".into(),
        ),
        (error([4], PRelu::new().start(f64::NAN)), "(PRelu): start must be finite, got NaN".into()),
        (
            error([4], DropConnect::new(0)),
            "(DropConnect): out_features must be at least 1, got 0".into(),
        ),
        (
            error([4], DropConnect::new(2).keep(0.0)),
            format!("(DropConnect): p must be {drop}, got 1"),
        ),
        (
            error([4], DropConnect::new(2).activation(Elu::new(f64::NAN))),
            "(DropConnect): alpha must be finite, got NaN".into(),
        ),
        (
            error([1, 4, 4], FractionalMaxPool2d::new(2.0)),
            "(FractionalMaxPool2d): ratio must be above 1 and below 2, got 2".into(),
        ),
        (
            error([1, 4, 4], FractionalMaxPool2d::new(f64::NAN)),
            "(FractionalMaxPool2d): ratio must be above 1 and below 2, got NaN".into(),
        ),
        (
            error([1, 4, 4], FractionalMaxPool2d::to_size((2, 0))),
            "(FractionalMaxPool2d): output size must be at least 1, got (2, 0)".into(),
        ),
        (
            error([4], StochasticDepth::new(Block::new()).survival(0.0)),
            "(StochasticDepth): survival must be a probability above 0 and at most 1, got 0".into(),
        ),
        (
            error([4], StochasticDepth::new(Block::new()).last_survival(1.5)),
            "(StochasticDepth): last_survival must be a probability above 0 and at most 1, got 1.5"
                .into(),
        ),
        (error([4], Parallel::concat()), "(Parallel): branches must be at least 1, got 0".into()),
        (error([4], Dropout::keep(0.0)), format!("(Dropout): p must be {drop}, got 1")),
        (error([4], Dropout::drop(-0.1)), format!("(Dropout): p must be {drop}, got -0.1")),
        (error([4], AlphaDropout::new(1.0)), format!("(AlphaDropout): p must be {drop}, got 1")),
        (
            error([4], GaussianDropout::new(f64::NAN)),
            format!("(GaussianDropout): rate must be {drop}, got NaN"),
        ),
        (
            error([4], GaussianNoise::new(-1.0)),
            "(GaussianNoise): std must be a finite standard deviation of at least 0, got -1".into(),
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, format!("layer 0 {want}"));
    }
}

#[test]
fn a_shape_that_does_not_fit_says_what_to_do() {
    let cases: Vec<(String, &str)> = vec![
        (
            error([2, 2], Maxout::new(1, 2)),
            "(Maxout): needs [features], got [2, 2]; add Flatten before it",
        ),
        (
            error([4], MaxoutConv2d::new(1, 3, 2)),
            "(MaxoutConv2d): needs [channels, height, width], got [4]; \
             images have three axes; a grey image is [1, height, width]",
        ),
        (
            error([2, 2], DropConnect::new(1)),
            "(DropConnect): needs [features], got [2, 2]; add Flatten before it",
        ),
        (
            error([4], FractionalMaxPool2d::new(1.5)),
            "(FractionalMaxPool2d): needs [channels, height, width], got [4]; \
             images have three axes; a grey image is [1, height, width]",
        ),
        (
            error([1, 8, 8], FractionalMaxPool2d::to_size((3, 5))),
            "(FractionalMaxPool2d): needs an image between the output size (3, 5) and twice it, got [1, 8, 8]; \
             change the output size",
        ),
        (
            error([5, 2], MaxoutChannels::new(2)),
            "(MaxoutChannels): needs [channels, ..] with channels a multiple of 2 pieces, got [5, 2]; \
             change the layer before it, or the number of pieces",
        ),
        (
            error(Vec::<usize>::new(), PRelu::new()),
            "(PRelu): needs [channels, ..], got []; use PRelu::shared",
        ),
        (
            error(Vec::<usize>::new(), Dropout::new(0.5).spatial(true)),
            "(Dropout): needs [channels, ..], got []; use a dropout that is not spatial",
        ),
    ];
    for (got, want) in cases {
        assert_eq!(got, format!("layer 0 {want}"));
    }
    let wider = || Block::new().add(Linear::new(5));
    let shortcut = "change the body, or the projection; without one the shortcut is the input";
    assert_eq!(
        error([4], Residual::new(wider())),
        format!(
            "layer 0 (Residual): needs a body whose output has the shortcut's shape [4], got [5]; {shortcut}"
        )
    );
    let narrow = Block::new().add(Linear::new(2));
    assert_eq!(
        error([4], StochasticDepth::new(wider()).projection(narrow)),
        format!(
            "layer 0 (StochasticDepth): needs a body whose output has the shortcut's shape [2], got [5]; {shortcut}"
        )
    );
    assert_eq!(
        error([4], Residual::new(Block::new().add(Relu).add(Conv2d::new(1, 3)))),
        "layer 0.0.1 `0.body.1` (Conv2d): needs [channels, height, width], got [4]; \
         images have three axes; a grey image is [1, height, width]"
    );
    let flat = Block::new().add(Conv2d::new(2, 3));
    let cure = "change padding, stride or filters of that branch";
    assert_eq!(
        error([1, 4, 4], Parallel::concat().branch(Block::new()).branch(flat)),
        format!(
            "layer 0 (Parallel): needs branches that agree with [1, 4, 4] in all but the first axis, got [2, 2, 2]; {cure}"
        )
    );
    assert_eq!(
        error([4], Parallel::sum().branch(Block::new()).branch(wider())),
        format!("layer 0 (Parallel): needs branches of one shape [4], got [5]; {cure}")
    );
    assert_eq!(
        error([4], Parallel::sum().branch(Block::new().add(Linear::new(0)))),
        "layer 0.0.0 (Linear): out_features must be at least 1, got 0"
    );
    let pairs = Lambda::<f32>::elementwise(|x| x, |_| 1.0)
        .kind("Pairs")
        .output_shape(|input| input.require(&[2], "[pair]"));
    assert_eq!(error([3], pairs), "layer 0 (Pairs): needs [pair] = [2], got [3]");
}

#[test]
fn sizes_that_overflow_are_refused() {
    let huge = usize::MAX / 2;
    assert!(error([4], Maxout::new(huge, huge)).contains("too large for memory"));
    assert!(error([1, 8, 8], MaxoutConv2d::new(huge, 3, huge)).contains("too large for memory"));
    assert!(error([4], MaxoutChannels::new(huge)).contains("a multiple of"));
}
