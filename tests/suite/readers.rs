//! What readers read, and what they say about files that are not what they should be.

use layerwise::data::{ByteImages, read_cifar10, read_cifar100, read_npy};
use layerwise::ndarray::{Array3, ArrayD};

use crate::support::text;

fn numpy(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/numpy/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("the file is part of the repository")
}

fn counted(scale: f64, shift: f64) -> ArrayD<f64> {
    Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f64 * scale + shift)
        .into_dyn()
}

#[test]
fn what_numpy_saved_is_read() {
    let read = |name: &str| read_npy::<f64>(&numpy(name)[..]).expect(name);
    assert_eq!(read("float32.npy"), counted(0.125, 0.0));
    assert_eq!(read("float64_fortran.npy"), counted(0.125, 0.0));
    assert!(read("float64_fortran.npy").is_standard_layout());
    assert_eq!(read("int16_big_endian.npy"), counted(1.0, -12.0));
    assert_eq!(read("int64.npy"), counted(1.0, -12.0));
    assert_eq!(read("bool.npy"), counted(1.0, 0.0).mapv(|x| f64::from(x % 3.0 == 0.0)));
    assert_eq!(read("scalar.npy").as_slice(), Some(&[2.5][..]));
    assert_eq!(read("empty.npy").shape(), [0, 3]);
    assert_eq!(read_npy::<f32>(&numpy("float32.npy")[..]).expect("floats")[[1, 2, 3]], 2.875);
}

#[test]
fn npy_errors_say_what_is_wrong() {
    let error = |bytes: &[u8]| text(read_npy::<f32>(bytes));
    assert_eq!(
        error(&numpy("complex.npy")),
        "NPY: needs elements of floats (4 or 8 bytes), integers or booleans, got `<c8`"
    );
    let good = numpy("float32.npy");
    assert_eq!(
        error(&good[..good.len() - 1]),
        "NPY: needs 24 elements for [2, 3, 4], got 23; the stream is cut off"
    );
    assert_eq!(
        error(&[&good[..], &[0]].concat()),
        "NPY: needs 24 elements for [2, 3, 4], got more; the header is wrong"
    );
    assert_eq!(error(&good[..9]), "NPY: the stream ends inside the header");
    assert_eq!(error(&good[..50]), "NPY: the stream ends inside the header");
    assert_eq!(
        error(b"PK\x03\x04 something"),
        "NPY: needs to begin with \\x93NUMPY, got [80, 75, 3, 4, 32, 115]; is the file still compressed?"
    );
    assert_eq!(error(b"\x93NUMPY\x07\x00"), "NPY: needs format version 1 to 3, got 7");
    let with = |header: &str| {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        error(&file)
    };
    assert_eq!(
        with("{'descr': '<f4', 'shape': (2,)}"),
        "NPY: the header has no fortran_order, got `{'descr': '<f4', 'shape': (2,)}`"
    );
    assert_eq!(
        with("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}"),
        "NPY: fortran_order must be True or False, got `Maybe, 'shape': (2,)}`"
    );
    assert_eq!(
        with("{'descr': '<f4', 'fortran_order': False, 'shape': (2, x)}"),
        "NPY: shape must be a tuple of at most 64 lengths, got `(2, x)}`"
    );
    // A header that promises 2^80 bytes takes no memory.
    let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1099511627776)}";
    assert!(with(huge).ends_with("got 0; the stream is cut off"));
}

#[test]
fn cifar_and_idx_errors_say_what_is_wrong() {
    let image = |labels: &[u8]| [labels, &[7; 3072]].concat();
    assert_eq!(
        text(read_cifar10(&image(&[3])[..3000])),
        "CIFAR-10: needs whole images of 3073 bytes, got 0 and 3000 bytes; the file is cut off"
    );
    assert_eq!(
        text(read_cifar10(&[image(&[3]), image(&[10])].concat()[..])),
        "CIFAR-10: class 10 of image 1 is out of range: there are 10 (0 to 9)"
    );
    assert_eq!(
        text(read_cifar100(&image(&[20, 1])[..])),
        "CIFAR-100: class 20 of image 0 is out of range: there are 20 (0 to 19)"
    );
    assert_eq!(
        text(read_cifar10(&image(&[3])[..]).and_then(ByteImages::coarse)),
        "CIFAR-100: coarse classes are in CIFAR-100 only"
    );
    assert_eq!(
        text(read_cifar10(&[][..]).and_then(|images| images.to_dataset::<f32>())),
        "data set: needs at least one sample with at least one element, got [0, 3, 32, 32]"
    );
    let images = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5];
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 1, 2];
    assert_eq!(
        text(ByteImages::idx(&images[..], &labels[..])),
        "IDX: 1 images need labels [1], got [2]"
    );
    assert_eq!(
        text(ByteImages::idx(&labels[..], &labels[..])),
        "IDX: images need three axes [n, height, width], got [2]"
    );
    let empty = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(
        text(ByteImages::idx(&empty[..], &labels[..])),
        "IDX: images need at least one pixel, got [1, 0, 1]"
    );
}

#[cfg(feature = "mmap")]
#[test]
fn a_mapped_file_is_named_in_its_errors() {
    assert_eq!(text(ByteImages::open_cifar10("no/such/file")), "cannot map no/such/file");
    let path = std::env::temp_dir().join(format!("layerwise-mapped-{}", std::process::id()));
    std::fs::write(&path, [1, 2, 3]).expect("saved");
    let name = path.display();
    assert_eq!(
        text(ByteImages::open_cifar10(&path)),
        format!(
            "CIFAR-10: {name}: needs whole images of 3073 bytes, got 0 and 3 bytes; the file is cut off"
        )
    );
    std::fs::write(&path, []).expect("saved");
    let empty = ByteImages::open_idx(&path, &path).map(|_| ());
    assert_eq!(text(empty), format!("IDX: {name}: the stream ends inside the header"));
    std::fs::remove_file(&path).expect("there");
}

#[cfg(feature = "npz")]
mod npz {
    use layerwise::data::read_npz;

    use super::{numpy, text};

    #[test]
    fn archives_are_read_stored_and_deflated() {
        for name in ["stored.npz", "deflated.npz"] {
            let arrays = read_npz::<f32>(&numpy(name)[..]).expect(name);
            assert_eq!(arrays.keys().collect::<Vec<_>>(), ["images", "labels"]);
            assert_eq!(arrays["images"].shape(), [2, 3, 4]);
            assert_eq!(arrays["images"][[1, 2, 3]], 23.0);
            assert_eq!(arrays["labels"].as_slice(), Some(&[1.0, 0.0][..]));
        }
    }

    #[test]
    fn npz_errors_say_what_is_wrong() {
        let error = |bytes: &[u8]| text(read_npz::<f32>(bytes));
        assert_eq!(
            error(b"\x93NUMPY"),
            "NPZ: needs a ZIP archive, got no directory; the file is cut off or of another kind"
        );
        let mut damaged = numpy("stored.npz");
        // The first pixel: behind the member's header, its name, and 128 bytes of NPY header.
        let at = damaged.windows(6).position(|bytes| bytes == b"\x93NUMPY").expect("a member");
        damaged[at + 128] ^= 1;
        assert_eq!(
            error(&damaged),
            "NPZ: member images: its checksum is not what it should be; the file is damaged"
        );
    }
}

#[cfg(feature = "csv")]
mod csv {
    use layerwise::data::Csv;
    use layerwise::ndarray::arr2;

    use super::text;

    #[test]
    fn tables_are_read_with_quotes_other_delimiters_and_without_header() {
        let table =
            "\"id\";\"size; in m\";y1;kind;y2\r\n7;1.5;2;a;3\r\n8; -2e1 ;4;\"b\"\"c\";5\r\n";
        let csv = Csv::new().delimiter(b';').skip("id");
        let both = csv.skip("kind").values::<f64>(table.as_bytes(), &["y2", "y1"]).expect("good");
        assert_eq!(both.features, ["size; in m"]);
        assert_eq!(both.data.samples(), arr2(&[[1.5], [-20.0]]).into_dyn());
        assert_eq!(both.data.targets(), &arr2(&[[3.0, 2.0], [5.0, 4.0]]).into_dyn());
        let csv = Csv::new().delimiter(b';').skip("id").skip("y1").skip("y2");
        let kinds = csv.classes::<f32>(table.as_bytes(), "kind").expect("good");
        assert_eq!(kinds.classes, ["a", "b\"c"]);
        let bare = Csv::new().header(false).classes::<f32>("1,x\n2,y\n".as_bytes(), "1");
        assert_eq!(bare.expect("good").data.targets(), &[0, 1]);
    }

    #[test]
    fn csv_errors_name_line_and_column() {
        let error =
            |table: &str| text(Csv::new().classes::<f32>(table.as_bytes(), "kind").map(|_| ()));
        assert_eq!(
            error("size,kind\n1,a\nlarge,b\n"),
            "CSV: line 3, column 1 `size`: needs a number, got `large`"
        );
        assert_eq!(
            error("size,kind\n1,a\n,b\n"),
            "CSV: line 3, column 1 `size`: needs a number, got nothing; fill it in, or leave the row out"
        );
        assert_eq!(
            error("size,kind\nNaN,a\n"),
            "CSV: line 2, column 1 `size`: needs a finite number, got `NaN`"
        );
        assert_eq!(
            error("size,kind\n1, \n"),
            "CSV: line 2, column 2 `kind`: needs a class, got nothing; fill it in, or leave the row out"
        );
        assert_eq!(
            error("size,kind\n1,a\n2\n"),
            "CSV: line 3: needs 2 fields as in the first line, got 1"
        );
        assert_eq!(
            error("size,type\n1,a\n"),
            "CSV: no column is called `kind`; there are size, type"
        );
        assert_eq!(error(""), "data set: the table is empty");
        assert_eq!(
            error("size,kind\n"),
            "data set: needs at least one sample with at least one element, got [0, 1]"
        );
        let latin = Csv::new().classes::<f32>(&b"size,kind\n1,caf\xe9\n"[..], "kind");
        assert_eq!(text(latin), "CSV: line 2, column 2: needs UTF-8 text, got other bytes");
    }
}

#[cfg(feature = "image")]
mod image_folder {
    use std::path::PathBuf;

    use image::{GrayImage, Luma, Rgb, RgbImage};
    use layerwise::data::{ImageFolder, Source, read_image};

    use super::text;

    /// A folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("layerwise-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a temporary folder");
            Self(path)
        }
        fn at(&self, name: &str) -> PathBuf {
            let path = self.0.join(name);
            let parent = path.parent().expect("inside the folder");
            std::fs::create_dir_all(parent).expect("a temporary folder");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn images_are_read_class_by_class_and_what_is_none_is_listed() {
        let root = Folder::new("classes");
        RgbImage::from_pixel(4, 2, Rgb([255, 0, 51])).save(root.at("b/2.png")).expect("saved");
        GrayImage::from_pixel(8, 4, Luma([102])).save(root.at("b/1.jpg")).expect("saved");
        RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8, y as u8, 9]))
            .save(root.at("a/x.png"))
            .expect("saved");
        std::fs::write(root.at("a/readme.md"), "text").expect("saved");
        let whole = std::fs::read(root.at("a/x.png")).expect("there");
        std::fs::write(root.at("a/cut.png"), &whole[..whole.len() - 20]).expect("saved");

        let folder = ImageFolder::open(&root.0, [3, 2, 4]).expect("images");
        assert_eq!(folder.classes(), ["a", "b"]);
        let names: Vec<_> = folder.files().map(|path| path.file_name().expect("a file")).collect();
        assert_eq!(names, ["cut.png", "x.png", "1.jpg", "2.png"]);
        assert_eq!(folder.unreadable().len(), 1);
        assert!(folder.unreadable()[0].path.ends_with("a/readme.md"));

        let (data, unreadable) = folder.load::<f32>().expect("images");
        assert_eq!((data.len(), data.targets(), unreadable.len()), (3, &vec![0, 1, 1], 2));
        let x = data.samples();
        assert_eq!((x[[0, 0, 0, 3]], x[[0, 1, 1, 0]]), (3.0 / 255.0, 1.0 / 255.0));
        assert!((x[[1, 2, 1, 1]] - 0.4).abs() < 0.01);
        assert_eq!((x[[2, 0, 0, 0]], x[[2, 1, 0, 0]], x[[2, 2, 0, 0]]), (1.0, 0.0, 0.2));

        let mut batches = Source::<f32>::batches(&folder, 4).expect("not 0");
        let error = text(batches.next_batch());
        assert!(error.starts_with("image: ") && error.contains("a/cut.png: "), "{error}");
    }

    #[test]
    fn one_image_is_read_as_a_folder_reads_it() {
        let root = Folder::new("one");
        let image = RgbImage::from_fn(9, 5, |x, y| Rgb([(25 * x) as u8, (50 * y) as u8, 7]));
        image.save(root.at("a/x.png")).expect("saved");
        let file = std::fs::read(root.at("a/x.png")).expect("there");
        for shape in [[1, 5, 9], [3, 4, 3], [3, 8, 12]] {
            let folder = ImageFolder::open(&root.0, shape).expect("one image");
            let (data, _) = folder.load::<f32>().expect("one image");
            let x = read_image::<f32>(&file[..], shape).expect("a good file");
            assert_eq!(x.as_slice(), data.sample(0));
        }
        assert_eq!(
            text(read_image::<f32>(&file[..], [4, 5, 9])),
            "read_image: shape must be [1 or 3, height, width], each at most 65535, got [4, 5, 9]"
        );
        let error = text(read_image::<f32>(&file[..20], [1, 5, 9]));
        assert!(error.starts_with("image: "), "{error}");
    }

    #[test]
    fn folder_errors_name_the_folder() {
        let missing = ImageFolder::open("no/such/folder", [1, 2, 2]);
        assert_eq!(text(missing), "cannot read the folder no/such/folder");
        assert_eq!(
            text(ImageFolder::open(".", [2, 2, 2])),
            "ImageFolder: shape must be [1 or 3, height, width], each at most 65535, got [2, 2, 2]"
        );
        let root = Folder::new("empty");
        std::fs::write(root.at("a/b.txt"), "text").expect("saved");
        let error = text(ImageFolder::open(&root.0, [1, 2, 2]));
        assert!(
            error.ends_with("(1 unreadable files); it needs one folder for each class"),
            "{error}"
        );
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused() {
        let root = Folder::new("claims");
        RgbImage::new(4, 4).save(root.at("a/x.png")).expect("saved");
        let mut bytes = std::fs::read(root.at("a/x.png")).expect("there");
        // The width in the first chunk, and its checksum.
        bytes[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let crc = bytes[12..29].iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        });
        bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
        std::fs::write(root.at("a/x.png"), &bytes).expect("saved");
        RgbImage::new(4, 4).save(root.at("a/y.png")).expect("saved");
        let folder = ImageFolder::open(&root.0, [1, 2, 2]).expect("one image");
        let cause = &folder.unreadable()[0].cause;
        assert!(cause.starts_with("claims 60000 × 60000 pixels in"), "{cause}");
    }
}
