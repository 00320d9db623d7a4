//! Files of layers and weights whose layers claim what the file does not bring.

use layerwise::prelude::*;
use layerwise::preprocessing::{ChannelStandardize, Pca, Preprocessor};

use super::{most, survive, twice};

const KEY: &str = "layerwise.model";

/// Bytes of a model's numbers.
fn numbers(model: &Sequential) -> usize {
    let mut bytes = 0;
    model.visit(&mut layerwise::Visitor::new(&mut |_, entry| {
        bytes += 4 * match entry {
            layerwise::Entry::Param(param) => param.numel(),
            layerwise::Entry::Buffer(buffer) => buffer.as_slice().len(),
            _ => 0,
        };
    }));
    bytes
}

/// Opens it from memory; returns what that cost beside the model's own numbers.
fn open(file: &[u8]) -> (Result<Sequential>, usize) {
    let mut result = Err(Error::Data("not opened".into()));
    let used = most(|| result = Sequential::<f32>::from_bytes(file));
    let cost = used.saturating_sub(result.as_ref().map_or(0, numbers));
    (result, cost)
}

/// One of everything.
fn models() -> Vec<Sequential> {
    let image = || Sequential::builder([4, 8, 8]);
    let flat = || Sequential::builder([12]);
    let sequence = || Sequential::builder([5, 3]);
    let conv = || Block::new().add(Conv2d::new(4, 3).padding(1)).add(BatchNorm::new());
    let x = Array4::from_shape_fn((9, 4, 8, 8), |(n, c, h, w)| {
        ((n * 7 + c * 5 + h * 3 + w) % 11) as f32
    });
    let rows = Array2::from_shape_fn((20, 12), |(n, i)| ((n * n * 7 + i * 5) % 11) as f32);
    let builders = vec![
        flat().add(Linear::new(5)).add(Relu).add(Linear::new(3).bias(false)).add(Softmax::new()),
        image().add(Conv2d::new(4, 3).stride(2).padding(1).groups(2)).add(BatchNorm::new()),
        image().add(MaxPool2d::new(2)).add(AvgPool2d::new(2).padding(1)).add(GlobalAvgPool),
        image().add(AdaptiveAvgPool2d::new(3)).add(AdaptiveMaxPool2d::new(2)).add(Flatten),
        image().add(FractionalMaxPool2d::new(1.5)).add(FractionalMaxPool2d::to_size(3)),
        image().add(ConvTranspose2d::new(3, 2).stride(2).output_padding(1)).add(GlobalMaxPool),
        image()
            .add(ZeroPad::new((1, 2)))
            .add(Upsample::new(2))
            .add(Upsample::to((5, 7)).bilinear()),
        image().add(Reshape::new([16, 16])).add(Permute::new([1, 0])).add(Conv1d::new(3, 3)),
        image().add(LayerNorm::new()).add(GroupNorm::new(2)).add(InstanceNorm::new().affine(true)),
        image().add(LocalResponseNorm::new(3)).add(PRelu::new()).add(MaxoutChannels::new(2)),
        image().add(MaxoutConv2d::new(3, 3, 2)).add(PRelu::shared()),
        image().add(ChannelStandardize.fit(&x).expect("it fits")),
        image().add(BatchNorm::new().affine(false)),
        image().add(Residual::new(conv()).projection(conv())),
        image().add(StochasticDepth::new(conv()).survival(0.5)),
        image().add(Parallel::concat().branch(conv()).branch(Block::new())),
        flat().add(Pca::new().components(5).fit(&rows).expect("it fits")),
        flat()
            .add(Maxout::new(4, 3))
            .add(Dropout::new(0.5))
            .add(DropConnect::new(3).activation(Tanh)),
        flat().add(Embedding::new(7, 3)).add(Rnn::new(4)),
        sequence().add(Lstm::new(4).sequences(true).truncate(2)).add(Gru::new(3)),
        sequence().add_named(
            "block",
            Block::new().add(Flatten).add(Linear::new(4)).add(LeakyRelu::new(0.1)),
        ),
    ];
    builders.into_iter().map(|builder| builder.build().expect("it fits")).collect()
}

/// The file with another text in its header, whose length is told anew.
fn with_header(file: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let (length, rest) = file.split_first_chunk::<8>().expect("a file");
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header = change(std::str::from_utf8(header).expect("JSON"));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

/// Where the numbers of the architecture stand in a header.
fn places(header: &str) -> Vec<std::ops::Range<usize>> {
    let from = header.find(KEY).expect("there");
    let to = from + header[from..].find("\"}").expect("the end of the metadata");
    let mut places = Vec::new();
    let mut at = from;
    while let Some(begin) = header[at..to].find(|c: char| c.is_ascii_digit()).map(|i| at + i) {
        let end = header[begin..to].find(|c: char| !c.is_ascii_digit()).map_or(to, |i| begin + i);
        // Not in a name or the seed.
        if header[..begin].ends_with([':', '[', ',']) {
            places.push(begin..end);
        }
        at = end;
    }
    places
}

#[test]
fn layers_and_inputs_that_claim_to_be_huge_are_errors_without_a_cost() {
    let claims = [
        "0",
        "1",
        "7",
        "65537",
        "4000000000",
        "1000000000000",
        "9223372036854775807",
        "18446744073709551615",
    ];
    let (mut tried, mut refused) = (0, 0);
    for model in models() {
        let file = model.model_to_bytes().expect("saved");
        // Layers and their description take what they take: a claim may cost twice the file beside that.
        let (opened, honest) = open(&file);
        opened.expect("a good file");
        let header_len = u64::from_le_bytes(*file.first_chunk().expect("a file")) as usize;
        let header = std::str::from_utf8(&file[8..8 + header_len]).expect("JSON").to_string();
        let places = places(&header);
        assert!(places.len() >= 3, "{header}");
        for place in places {
            for claim in claims {
                let changed = with_header(&file, |header| {
                    format!("{}{claim}{}", &header[..place.start], &header[place.end..])
                });
                let (result, cost) = open(&changed);
                // What is no error may be another plan for a convolution: 21 kB more were seen, for a width of 1. It does not grow
                // with the claim: a stride of 7 and one of 2⁶⁴ − 1 cost the same.
                let plan = if result.is_ok() { 32 << 10 } else { 0 };
                let bound = honest + twice(&changed) + plan;
                assert!(cost <= bound, "{claim} at {place:?} of {header}: {cost}, not {bound}");
                tried += 1;
                refused += u32::from(result.is_err());
            }
        }
    }
    // Some settings may be anything: a padding, a place to round to.
    assert!(tried > 1000 && refused > tried / 2, "{refused} of {tried}");
}

#[test]
fn models_cut_off_or_changed_are_errors_without_a_cost() {
    let model = Sequential::builder([1, 6, 6])
        .add(Conv2d::new(4, 3).bias(false))
        .add(BatchNorm::new())
        .add(Flatten)
        .add_named("head", Block::new().add(Linear::new(10)));
    let file = model.build().expect("it fits").model_to_bytes().expect("saved");
    let (_, honest) = open(&file);
    let bound = |bytes: &[u8]| honest + twice(bytes);
    survive("model", &file, 100_000, bound, |bytes| {
        Sequential::<f32>::from_bytes(bytes).map(|model| numbers(&model))
    });
    // From the disk the file itself is in memory too, once.
    let path = std::env::temp_dir().join(format!("layerwise-memory-model-{}", std::process::id()));
    std::fs::write(&path, &file).expect("written");
    let mut opened = Err(Error::Data("not opened".into()));
    let used = most(|| opened = Sequential::<f32>::open(&path));
    std::fs::remove_file(&path).expect("there");
    let bound = bound(&file) + numbers(&opened.expect("a good file"));
    assert!(used <= bound, "{used} of {bound}");
}

/// Text of which each byte becomes many in memory.
#[test]
fn an_architecture_without_end_is_refused_before_it_is_read() {
    let file = |settings: &str| {
        let text = format!(r#"{{"format":1,"input":[3],"seed":"1","layers":[{settings}]}}"#);
        let text = text.replace('"', "\\\"");
        let header = format!(r#"{{"__metadata__":{{"{KEY}":"{text}"}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
    };
    let zeros = |count: usize| format!(r#"{{"kind":"?","settings":[{}0]}}"#, "0,".repeat(count));
    let layers =
        |count: usize| format!(r#"{}{{"kind":"Relu"}}"#, r#"{"kind":"Relu"},"#.repeat(count));
    let deep = |count: usize| {
        format!(r#"{{"kind":"?","settings":{}{}}}"#, "[".repeat(count), "]".repeat(count))
    };
    for text in [zeros(10_000_000), layers(1_000_000), deep(5_000_000)] {
        let file = file(&text);
        let used = most(|| {
            let error = Sequential::<f32>::from_bytes(&file).expect_err("too long").to_string();
            assert!(
                error.starts_with("bytes: needs an architecture of at most 1048576 bytes"),
                "{error}"
            );
        });
        assert!(used <= 2 * file.len(), "{used} of {}", file.len());
    }
    // The longest that is read costs what a mebibyte of text can cost, whatever is in it.
    for text in [zeros(500_000), layers(60_000), deep(300_000)] {
        let cost = open(&file(&text)).1;
        assert!(cost <= 64 << 20, "{cost}: {}", &text[..40]);
    }
    // What would be refused is not written.
    let mut builder = Sequential::builder([3]);
    for _ in 0..80_000 {
        builder = builder.add(Relu);
    }
    let error =
        builder.build().expect("it fits").model_to_bytes().expect_err("too long").to_string();
    assert!(error.ends_with("; save the weights alone"), "{error}");
}
