//! What reading costs in memory, counted by the allocator: broken files must not cost more than good ones, and data
//! larger than memory must not be held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use layerwise::data::{read_cifar10, read_cifar100, read_idx, read_npy};
use layerwise::prelude::*;

#[cfg(feature = "serde")]
#[path = "memory/models.rs"]
mod models;

struct Measuring;

thread_local! {
    /// Bytes in use by this thread, and the most there were.
    static USED: Cell<[isize; 2]> = const { Cell::new([0; 2]) };
}

fn count(bytes: isize) {
    // The thread may be ending.
    let _ = USED.try_with(|used| {
        let [now, most] = used.get();
        used.set([now + bytes, most.max(now + bytes)]);
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

/// The most bytes that `work` had in use at once.
fn most(work: impl FnOnce()) -> usize {
    USED.with(|used| used.set([0; 2]));
    work();
    usize::try_from(USED.with(Cell::get)[1]).expect("at least nothing")
}

/// An error's text and place.
const TEXT: usize = 1024;

/// Reads every beginning of the file, and `mutations` copies with some bytes changed: no panic, and no more memory than
/// `bound` allows for these bytes. `read` returns how many bytes the numbers take that it read.
fn survive(
    name: &str,
    file: &[u8],
    mutations: usize,
    bound: impl Fn(&[u8]) -> usize,
    read: impl Fn(&[u8]) -> Result<usize>,
) {
    read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let check = |bytes: &[u8]| {
        let mut result = Ok(0);
        let used = most(|| result = read(bytes));
        // What was asked for, and was there, is no waste.
        let bound = bound(bytes) + result.as_ref().map_or(0, |&numbers| numbers);
        assert!(used <= bound, "{name}: {used} bytes for {}: {bytes:?}", bytes.len());
        result.is_err()
    };
    for len in 0..file.len() {
        assert!(check(&file[..len]), "{name}: {len} bytes were taken for all {}", file.len());
    }
    let mut rng = Seed::new(1).rng();
    let mut bytes = file.to_vec();
    for _ in 0..mutations {
        bytes.clear();
        bytes.extend_from_slice(file);
        for _ in 0..1 + rng.below(4) {
            // Headers twice as often as their share.
            let range = if rng.chance(0.5) { file.len().min(128) } else { file.len() };
            let at = rng.below(range);
            bytes[at] = match rng.below(3) {
                0 => bytes[at] ^ 1 << rng.below(8),
                1 => 255,
                _ => (rng.next_u64() >> 56) as u8,
            };
        }
        check(&bytes);
    }
}

/// Twice the file, and an error's text.
fn twice(bytes: &[u8]) -> usize {
    2 * bytes.len() + TEXT
}

#[test]
fn idx_files_cut_off_or_changed_are_errors_without_a_cost() {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5][..], &[7; 60]].concat();
    survive("IDX", &images, 100_000, twice, |bytes| read_idx(bytes).map(|_| 0));
    let labels = [0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3];
    survive("IDX pair", &images, 100_000, twice, |bytes| {
        layerwise::data::ByteImages::idx(bytes, &labels[..]).map(|_| 0)
    });
    // 4 billion images: 3 · 10¹² bytes that are not there.
    let huge = [0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 28, 0, 0, 0, 28];
    assert!(most(|| assert!(read_idx(&huge[..]).is_err())) <= twice(&huge));
}

#[test]
fn cifar_files_cut_off_or_changed_are_errors_without_a_cost() {
    // Beginnings of whole images are good files.
    let one = |labels: &[u8]| [labels, &[9; 3072]].concat();
    survive("CIFAR-10", &one(&[3]), 100_000, twice, |bytes| match bytes {
        [] => Err(Error::Data("no image".into())),
        bytes => read_cifar10(bytes).map(|_| 0),
    });
    survive("CIFAR-100", &one(&[3, 4]), 100_000, twice, |bytes| match bytes {
        [] => Err(Error::Data("no image".into())),
        bytes => read_cifar100(bytes).map(|_| 0),
    });
}

fn numpy(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/numpy/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("the file is part of the repository")
}

#[test]
fn npy_files_cut_off_or_changed_are_errors_without_a_cost() {
    for name in ["float32.npy", "int16_big_endian.npy", "bool.npy", "float64_fortran.npy"] {
        // Broken ones cost no more than twice the file, also where one byte would become four.
        let read = |bytes: &[u8]| read_npy::<f32>(bytes).map(|array| 4 * array.len());
        survive(name, &numpy(name), 100_000, twice, read);
    }
    let read = |bytes: &[u8]| read_npy::<f64>(bytes).map(|array| 8 * array.len());
    survive("as f64", &numpy("float32.npy"), 100_000, twice, read);
    // 40 MB that are not there.
    let mut huge = numpy("float32.npy");
    let at = huge.windows(9).position(|text| text == b"(2, 3, 4)").expect("its shape");
    huge.splice(at..at + 9, *b"(9999999)");
    assert!(most(|| assert!(read_npy::<f64>(&huge[..]).is_err())) <= twice(&huge));
}

/// Bytes of all arrays.
#[cfg(feature = "npz")]
fn read_npz(bytes: &[u8]) -> Result<usize> {
    let arrays = layerwise::data::read_npz::<f32>(bytes)?;
    Ok(arrays.values().map(|array| 4 * array.len()).sum())
}

#[test]
fn weights_cut_off_or_changed_are_errors_without_a_cost_and_leave_the_model_alone() {
    use std::cell::RefCell;
    let model = Sequential::builder([1, 6, 6])
        .add(Conv2d::new(4, 3).bias(false))
        .add(BatchNorm::new())
        .add(Flatten)
        .add(Linear::new(10));
    let model = model.build().expect("it fits");
    let file = model.to_bytes().expect("saved");
    let bits = |model: &Sequential| {
        let mut bits = Vec::new();
        model.visit(&mut layerwise::Visitor::new(&mut |_, entry| match entry {
            layerwise::Entry::Param(param) => {
                bits.extend(param.value().iter().map(|x| x.to_bits()))
            }
            layerwise::Entry::Buffer(buffer) => {
                bits.extend(buffer.value().iter().map(|x| x.to_bits()))
            }
            _ => {}
        }));
        bits
    };
    let before = bits(&model);
    let changing = RefCell::new(model.clone());
    // What is known of this model and its names, beside twice the file.
    let names = 4096;
    survive(
        "weights",
        &file,
        100_000,
        |bytes| twice(bytes) + names,
        |bytes| {
            let mut model = changing.borrow_mut();
            model.load_bytes(bytes).map(|_| 0)
        },
    );
    // Of the cut ones, none has changed anything.
    let mut untouched = model.clone();
    for len in 0..file.len() {
        assert!(untouched.load_bytes(&file[..len]).is_err());
    }
    assert_eq!(bits(&untouched), before);
    // Nor has a changed one that is an error.
    let mut rng = Seed::new(2).rng();
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = file.clone();
        let at = rng.below(600);
        bytes[at] ^= 1 << rng.below(8);
        let mut target = model.clone();
        if target.load_bytes(&bytes).is_err() {
            refused += 1;
            assert!(bits(&target) == before, "byte {at}");
        }
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn a_header_full_of_tensors_takes_no_more_than_twice_the_file() {
    use layerwise::persist::WeightsFile;
    let tensors: Vec<_> = (0..100_000)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1))
        .collect();
    let header = format!("{{{}}}", tensors.join(","));
    let file =
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 100_000]].concat();
    let used = most(|| {
        assert_eq!(WeightsFile::from_bytes(&file).expect("a good file").tensors().count(), 100_000)
    });
    assert!(used <= file.len(), "{used} of {}", file.len());
    // All alike: as many problems, of which a hundred are kept.
    let header = header.replace("U8", "Q8");
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let used = most(|| assert!(WeightsFile::from_bytes(&file).is_err()));
    assert!(used <= twice(&file), "{used} of {}", file.len());
    // One name, all escapes.
    let header = format!(r#"{{"{}":{{"dtype":"F32"}}}}"#, r"\u0061".repeat(100_000));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let used = most(|| assert!(WeightsFile::from_bytes(&file).is_err()));
    assert!(used <= twice(&file), "{used} of {}", file.len());
    // A file on the disk is read once: its bytes, and its header's tensors.
    let path = std::env::temp_dir().join(format!("layerwise-header-{}", std::process::id()));
    std::fs::write(&path, &file).expect("saved");
    let used = most(|| assert!(WeightsFile::open(&path).is_err()));
    assert!(used <= twice(&file), "{used} of {}", file.len());
    std::fs::remove_file(&path).expect("there");
}

#[cfg(feature = "npz")]
#[test]
fn npz_files_cut_off_or_changed_are_errors_without_a_cost() {
    // The decompressor with its window, which a changed byte may ask for; and the map's node: an error in the second
    // member finds the array of the first.
    let bound = |bytes: &[u8]| twice(bytes) + 2048 + 44 * 1024;
    for name in ["stored.npz", "deflated.npz"] {
        survive(name, &numpy(name), 100_000, bound, read_npz);
    }
}

#[cfg(feature = "npz")]
#[test]
fn an_archive_whose_members_share_data_is_refused() {
    // A hundred entries of the directory, all for the same member.
    let file = numpy("deflated.npz");
    let begin = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").expect("a directory");
    let entry = |at: usize| {
        let len = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
        46 + len(at + 28) + len(at + 30) + len(at + 32)
    };
    let (one, end) = (&file[begin..begin + entry(begin)], file.len() - 22);
    let mut bomb = [&file[..begin], &one.repeat(100)[..], &file[end..]].concat();
    let count = bomb.len() - 22 + 10;
    bomb[count..count + 2].copy_from_slice(&100u16.to_le_bytes());
    let error = read_npz(&bomb).expect_err("they share data");
    assert_eq!(error.to_string(), "NPZ: members share data; the archive is not NumPy's");
}

#[cfg(feature = "csv")]
#[test]
fn csv_files_cut_off_or_changed_are_errors_without_a_cost() {
    use layerwise::data::Csv;
    let mut table = String::from("sepal length,sepal width,species\n");
    (0..40).for_each(|i| table.push_str(&format!("{}.25,{}.5,iris setosa\n", i, i % 7)));
    // A table has no header that could claim anything. Besides twice the file there are the parser's buffers, the names
    // of columns and classes, and the table itself, in lists that grow by doubling: a number of 4 bytes for each field
    // and one of 8 for each row's class.
    let bound = |bytes: &[u8]| {
        let count = |wanted: &[u8]| bytes.iter().filter(|byte| wanted.contains(byte)).count();
        let rows = count(b"\n\r") + 1;
        twice(bytes) + 2 * (4 * (rows + count(b",")) + 8 * rows) + 14 * 1024
    };
    let read = |bytes: &[u8]| Csv::new().classes::<f32>(bytes, "species").map(|_| 0);
    // A beginning that ends with a row is a good table: cut inside the first.
    survive("header", &table.as_bytes()[..34], 1, bound, |bytes| match bytes.len() {
        34.. => Ok(0),
        _ => read(bytes),
    });
    let whole = table.as_bytes();
    survive("CSV", whole, 100_000, bound, |bytes| match read(bytes) {
        Ok(_) if bytes.len() < whole.len() => Err(Error::Data("a shorter table".into())),
        other => other,
    });
}

/// Pixels that an image's header may claim: none if it claims more than the file can hold.
#[cfg(feature = "image")]
fn claimed(bytes: &[u8]) -> usize {
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
    let size = reader.ok().and_then(|reader| reader.into_dimensions().ok());
    let pixels = size.map_or(0, |(width, height)| width as usize * height as usize);
    if pixels > 1100 * bytes.len() { 0 } else { pixels }
}

#[cfg(feature = "image")]
fn image_file(format: image::ImageFormat) -> Vec<u8> {
    let image =
        image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(20 * x) as u8, (30 * y) as u8, 90]));
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("a good image");
    file.into_inner()
}

#[cfg(feature = "image")]
#[test]
fn image_files_cut_off_or_changed_are_errors_and_cost_what_their_header_may_claim() {
    use layerwise::data::read_image;
    const SIDE: usize = 4;
    for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg] {
        let file = image_file(format);
        // Pixels are more than the bytes they are packed in, so twice the file cannot hold them: 27 bytes for each that
        // the header claims, in decoding and on the way to another size, and the decoders' tables and buffers.
        let bound = |bytes: &[u8]| twice(bytes) + 27 * claimed(bytes) + 16 * SIDE * SIDE + TABLES;
        let whole = file.len();
        survive(&format!("{format:?}"), &file, 100_000, bound, |bytes| {
            match read_image::<f32>(bytes, [3, SIDE, SIDE]) {
                // A decoder may take the last bytes for granted.
                Ok(_) if bytes.len() < whole => Err(Error::Data("enough".into())),
                other => other.map(|_| 0),
            }
        });
    }
}

#[cfg(feature = "image")]
#[test]
fn a_folder_lists_broken_images_whatever_is_wrong_with_them() {
    use layerwise::data::ImageFolder;
    let root = std::env::temp_dir().join(format!("layerwise-memory-{}", std::process::id()));
    std::fs::create_dir_all(root.join("a")).expect("a temporary folder");
    for (name, format) in
        [("a/x.png", image::ImageFormat::Png), ("a/x.jpg", image::ImageFormat::Jpeg)]
    {
        let (file, path) = (image_file(format), root.join(name));
        let whole = file.len();
        let bound = |bytes: &[u8]| twice(bytes) + 27 * claimed(bytes) + TABLES;
        survive(name, &file, 1000, bound, |bytes| {
            std::fs::write(&path, bytes).expect("saved");
            let folder = ImageFolder::open(&root, [3, 4, 4])?;
            let (_, unreadable) = folder.load::<f32>()?;
            let good = unreadable.is_empty() && bytes.len() == whole;
            if good { Ok(0) } else { Err(Error::Data("unreadable".into())) }
        });
        std::fs::remove_file(&path).expect("there");
    }
    std::fs::remove_dir_all(&root).expect("there");
}

/// Tables and buffers of the PNG and JPEG decoders, whatever the file.
#[cfg(feature = "image")]
const TABLES: usize = 256 * 1024;

#[cfg(feature = "image")]
#[test]
fn a_flat_image_that_becomes_a_high_one_costs_no_more_than_both() {
    use layerwise::data::ImageFolder;
    let root = std::env::temp_dir().join(format!("layerwise-flat-{}", std::process::id()));
    std::fs::create_dir_all(root.join("a")).expect("a temporary folder");
    let (width, side) = (60_000, 128);
    image::GrayImage::new(width, 1).save(root.join("a/x.png")).expect("saved");
    let folder = ImageFolder::open(&root, [1, side, side]).expect("a good image");
    let used = most(|| drop(folder.load::<f32>().expect("a good image")));
    // By way of 128 rows of all its width it would be 123 MB.
    let bound = 27 * width as usize + 20 * side * side + TABLES;
    assert!(used <= bound, "{used} bytes of {bound}");
    std::fs::remove_dir_all(&root).expect("there");
}

#[cfg(feature = "mmap")]
#[test]
fn an_epoch_over_mapped_mnist_has_the_same_bits_and_takes_no_memory() {
    use std::io::Read;

    use layerwise::data::ByteImages;

    let root = std::env::temp_dir().join(format!("layerwise-mnist-{}", std::process::id()));
    std::fs::create_dir_all(&root).expect("a temporary folder");
    let unpack = |name: &str| {
        let packed = format!("{}/examples/data/mnist/{name}.gz", env!("CARGO_MANIFEST_DIR"));
        let packed = std::fs::File::open(packed).expect("the file is part of the repository");
        let (mut bytes, path) = (Vec::new(), root.join(name));
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).expect("a good file");
        std::fs::write(&path, &bytes).expect("saved");
        path
    };
    let (images, labels) = (unpack("train-images-idx3-ubyte"), unpack("train-labels-idx1-ubyte"));
    const BATCH: usize = 128;
    let epoch = |source: &dyn Fn() -> Batches<'static, f32, Vec<usize>>| {
        let model = Sequential::builder([1, 28, 28]).add(Flatten).add(Linear::new(32)).add(Relu);
        let mut model = model.add(Linear::new(10)).seed(1).build().expect("it fits");
        let optimizer = ModelOptimizer::new(Adam::new(), 1e-3);
        let mut trainer = Trainer::new(CrossEntropy::new(), optimizer);
        let mut batches = source().shuffled(Seed::new(1));
        let mut losses = Vec::with_capacity(60_000 / BATCH + 1);
        // The first step makes the workspace, of whatever source.
        let first = batches.next_batch().expect("a good file").expect("a batch");
        trainer.step(&mut model, first.x, first.target).expect("good data");
        batches.set_epoch(0);
        let grown = most(|| {
            let each = |step: &layerwise::training::Step| {
                losses.push(step.loss.to_bits());
                std::ops::ControlFlow::Continue(())
            };
            trainer.epoch_with(&mut model, &mut batches, each).expect("good data");
        });
        (losses, grown)
    };
    // On this thread alone, so that all is counted.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
        .expect("a pool");
    pool.install(|| {
        let open =
            || std::sync::Arc::new(ByteImages::open_idx(&images, &labels).expect("good files"));
        let held = most(|| drop(open()));
        let (mapped, grown) = epoch(&|| Batches::shared(open(), BATCH).expect("not 0"));
        assert_eq!(mapped.len(), 469);
        let batch = BATCH * 784 * size_of::<f32>();
        assert!(held < 4096, "{held} bytes to open");
        assert!(grown < batch, "{grown} bytes of {batch}");
        let memory = std::sync::Arc::new(open().to_dataset::<f32>().expect("60,000 images"));
        let (in_memory, _) = epoch(&|| Batches::shared(memory.clone(), BATCH).expect("not 0"));
        assert!(mapped == in_memory, "losses differ");
    });
    std::fs::remove_dir_all(&root).expect("there");
}
