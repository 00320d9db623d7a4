//! Files that were damaged, or made to do harm.

use layerwise::persist::WeightsFile;

use super::{file, header, small};
use crate::support::{state, text};

/// What is said of a file with this header and so many bytes of data.
fn said(header: &str, data: usize) -> String {
    let mut model = small(1);
    let before = state(&model);
    let error = text(model.load_bytes(&file(header, &vec![0; data])));
    assert_eq!(state(&model), before);
    error
}

#[test]
fn a_broken_header_says_where() {
    for (header, want) in [
        ("", "header: needs `{` at byte 0, got its end"),
        ("[]", "header: needs `{` at byte 0, got `[]`"),
        (r#"{"a" 1}"#, "header: needs `:` at byte 5, got `1}`"),
        (r#"{"a":1}"#, "header: needs `{` at byte 5, got `1}`"),
        (r#"{"a":{"dtype":1}}"#, "header: needs a string at byte 14, got `1}}`"),
        (r#"{"a":{"data_offsets":[1,2,3]}}"#, "header: needs two offsets at byte 27, got `]}}`"),
        (
            r#"{"a":{"shape":[-1]}}"#,
            "header: needs a whole number from 0 to 2⁶⁴ − 1 at byte 15, got `-1]}}`",
        ),
        (
            r#"{"a":{"shape":[99999999999999999999]}}"#,
            "header: needs a whole number from 0 to 2⁶⁴ − 1 at byte 34, got `9]}}`",
        ),
        (
            r#"{"a":{"colour":"red"}}"#,
            "header: needs dtype, shape and data_offsets, each once at byte 15, got `\"red\"}}`",
        ),
        (r#"{"a":{}"#, "header: needs `,` or `}` at byte 7, got its end"),
        ("{} x", "header: needs the end of the header at byte 3, got `x`"),
        (r#"{"__metadata__":{"a":1}}"#, "header: needs a string at byte 21, got `1}}`"),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#,
            "header: needs one __metadata__ at byte 34, got `{}}`",
        ),
    ] {
        assert_eq!(said(header, 0), format!("bytes: {want}"));
    }
    let open = |bytes: &[u8]| text(WeightsFile::from_bytes(bytes));
    assert_eq!(open(&[1, 2]), "bytes: needs at least 8 bytes, got 2; the file is cut off");
    assert_eq!(
        open(&file("{}", &[])[..9]),
        "bytes: needs 2 bytes for the header, got 1; the file is cut off"
    );
    assert_eq!(
        open(&[255; 64]),
        "bytes: needs a header of at most 100000000 bytes, got 18446744073709551615; is it a safetensors file?"
    );
    let not_text = [&3u64.to_le_bytes()[..], b"{\xff}"].concat();
    assert_eq!(open(&not_text), "bytes: header: needs UTF-8, but byte 1 is none");
}

#[test]
fn tensors_that_cannot_be_where_they_say_are_named() {
    let one = |rest: &str| header(&[("w", rest)]);
    for (header, data, want) in [
        (one(r#""shape":[1],"data_offsets":[0,4]"#), 4, "w: has no dtype"),
        (one(r#""dtype":"F32""#), 0, "w: has no shape and no data_offsets"),
        (
            one(r#""dtype":"F4","shape":[1],"data_offsets":[0,4]"#),
            4,
            "w: needs a known dtype, such as F32, got F4",
        ),
        (
            one(r#""dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]"#),
            4,
            "w: needs bytes within 0..4, the data of the file, got 0..4000000000000",
        ),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#),
            4,
            "w: needs bytes within 0..4, the data of the file, got 4..0",
        ),
        (
            one(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#),
            8,
            "w: needs 12 bytes for F32 [3], got 8",
        ),
        (
            one(r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]"#),
            8,
            "w: needs a shape whose bytes can be counted, got F32 [4294967296,4294967296]",
        ),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#),
            8,
            "w: needs to begin at 0, where the tensor before it ends, got 4",
        ),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#),
            6,
            "needs 4 bytes of data, got 6; the rest belongs to no tensor",
        ),
        (
            header(&[
                ("b", r#""dtype":"U8","shape":[2],"data_offsets":[0,2]"#),
                ("w", r#""dtype":"F32","shape":[1],"data_offsets":[2,6]"#),
            ]),
            6,
            "w: needs to begin at a multiple of 4 for F32, got 2",
        ),
        (
            header(&[
                ("v", r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#),
                ("w", r#""dtype":"F32","shape":[2],"data_offsets":[4,12]"#),
            ]),
            12,
            "w: overlaps v, which ends at 8",
        ),
    ] {
        assert_eq!(said(&header, data), format!("bytes: {want}"));
    }
}

#[test]
fn two_tensors_of_one_name_are_an_error_however_it_is_spelled() {
    let twice = header(&[
        ("0.bias", r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#),
        (r"0.bi\u0061s", r#""dtype":"F32","shape":[2],"data_offsets":[8,16]"#),
    ]);
    assert_eq!(said(&twice, 16), "bytes: 0.bias: is there 2 times");
    // The reference implementation takes the last of them.
    assert!(
        safetensors::SafeTensors::deserialize(&file(
            &header(&[
                ("a", r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#),
                ("a", r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#),
            ]),
            &[0; 4]
        ))
        .is_ok()
    );
}

#[test]
fn all_problems_are_reported_together_and_very_many_are_counted() {
    let several = header(&[
        ("a", r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#),
        ("b", r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#),
        ("b", r#""dtype":"I4","shape":[1],"data_offsets":[8,12]"#),
        ("c", r#""dtype":"F32","shape":[1],"data_offsets":[90,94]"#),
    ]);
    assert_eq!(
        said(&several, 12),
        "bytes: 4 problems\n  \
         b: needs a known dtype, such as F32, got I4\n  \
         a: needs 12 bytes for F32 [3], got 8\n  \
         b: overlaps a, which ends at 8\n  \
         c: needs bytes within 0..12, the data of the file, got 90..94"
    );
    let name = "x".repeat(1000);
    let many: Vec<_> =
        (0..150).map(|_| (&*name, r#""dtype":"?","shape":[],"data_offsets":[0,0]"#)).collect();
    let error = said(&header(&many), 0);
    assert!(error.starts_with("bytes: 150 problems\n"), "{error}");
    assert!(error.ends_with("\n  and 50 more"), "{error}");
    assert!(error.contains(&format!("{}…: needs a known dtype", "x".repeat(200))), "{error}");
}
