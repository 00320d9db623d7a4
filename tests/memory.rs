//! What reading costs in memory, counted by the allocator: broken files must not cost more than good ones, and data
//! larger than memory must not be held.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use layerwise::data::{read_cifar10, read_cifar100, read_idx, read_npy};
use layerwise::prelude::*;

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
/// `bound` allows for a file of so many bytes.
fn survive(
    name: &str,
    file: &[u8],
    mutations: usize,
    bound: impl Fn(usize) -> usize,
    read: impl Fn(&[u8]) -> Result<()>,
) {
    read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    let check = |bytes: &[u8]| {
        let mut result = Ok(());
        let used = most(|| result = read(bytes));
        assert!(used <= bound(bytes.len()), "{name}: {used} bytes for {}: {bytes:?}", bytes.len());
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
fn twice(len: usize) -> usize {
    2 * len + TEXT
}

#[test]
fn idx_files_cut_off_or_changed_are_errors_without_a_cost() {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5][..], &[7; 60]].concat();
    survive("IDX", &images, 100_000, twice, |bytes| read_idx(bytes).map(|_| ()));
    let labels = [0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3];
    survive("IDX pair", &images, 100_000, twice, |bytes| {
        layerwise::data::ByteImages::idx(bytes, &labels[..]).map(|_| ())
    });
    // 4 billion images: 3 · 10¹² bytes that are not there.
    let huge = [0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 28, 0, 0, 0, 28];
    assert!(most(|| assert!(read_idx(&huge[..]).is_err())) <= twice(huge.len()));
}

#[test]
fn cifar_files_cut_off_or_changed_are_errors_without_a_cost() {
    // Beginnings of whole images are good files.
    let one = |labels: &[u8]| [labels, &[9; 3072]].concat();
    survive("CIFAR-10", &one(&[3]), 100_000, twice, |bytes| match bytes {
        [] => Err(Error::Data("no image".into())),
        bytes => read_cifar10(bytes).map(|_| ()),
    });
    survive("CIFAR-100", &one(&[3, 4]), 100_000, twice, |bytes| match bytes {
        [] => Err(Error::Data("no image".into())),
        bytes => read_cifar100(bytes).map(|_| ()),
    });
}

fn numpy(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/numpy/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("the file is part of the repository")
}

#[test]
fn npy_files_cut_off_or_changed_are_errors_without_a_cost() {
    // The numbers may be wider than the bytes they come from: one byte becomes four.
    let bound = |len: usize| twice(len) + 4 * len;
    for name in ["float32.npy", "int16_big_endian.npy", "bool.npy", "float64_fortran.npy"] {
        survive(name, &numpy(name), 25_000, bound, |bytes| read_npy::<f32>(bytes).map(|_| ()));
    }
    let file = numpy("float32.npy");
    survive("as it is", &file, 25_000, bound, |bytes| read_npy::<f32>(bytes).map(|_| ()));
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
        |len| twice(len) + names,
        |bytes| {
            let mut model = changing.borrow_mut();
            model.load_bytes(bytes).map(|_| ())
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
    assert!(used <= twice(file.len()), "{used} of {}", file.len());
    // One name, all escapes.
    let header = format!(r#"{{"{}":{{"dtype":"F32"}}}}"#, r"\u0061".repeat(100_000));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let used = most(|| assert!(WeightsFile::from_bytes(&file).is_err()));
    assert!(used <= twice(file.len()), "{used} of {}", file.len());
    // A file on the disk is read once: its bytes, and its header's tensors.
    let path = std::env::temp_dir().join(format!("layerwise-header-{}", std::process::id()));
    std::fs::write(&path, &file).expect("saved");
    let used = most(|| assert!(WeightsFile::open(&path).is_err()));
    assert!(used <= twice(file.len()), "{used} of {}", file.len());
    std::fs::remove_file(&path).expect("there");
}

#[cfg(feature = "npz")]
#[test]
fn npz_files_cut_off_or_changed_are_errors_without_a_cost() {
    use layerwise::data::read_npz;
    for name in ["stored.npz", "deflated.npz"] {
        // Members are unpacked in whole: these to less than four times the file; and the decompressor's tables.
        let bound = |len: usize| twice(len) + 16 * len + 64 * 1024;
        survive(name, &numpy(name), 50_000, bound, |bytes| read_npz::<f32>(bytes).map(|_| ()));
    }
}

#[cfg(feature = "csv")]
#[test]
fn csv_files_cut_off_or_changed_are_errors_without_a_cost() {
    use layerwise::data::Csv;
    let mut table = String::from("sepal length,sepal width,species\n");
    (0..40).for_each(|i| table.push_str(&format!("{}.25,{}.5,iris setosa\n", i, i % 7)));
    // The parser's buffer and its record, whatever the file; and for each row a class's name.
    let bound = |len: usize| twice(len) + 4 * len + 32 * 1024;
    // A beginning that ends with a row is a good table: cut inside the first.
    let read = |bytes: &[u8]| Csv::new().classes::<f32>(bytes, "species").map(|_| ());
    survive("header", &table.as_bytes()[..34], 1, bound, |bytes| match bytes.len() {
        34.. => Ok(()),
        _ => read(bytes),
    });
    let whole = table.as_bytes();
    survive("CSV", whole, 100_000, bound, |bytes| match read(bytes) {
        Ok(()) if bytes.len() < whole.len() => Err(Error::Data("a shorter table".into())),
        other => other,
    });
}

#[cfg(feature = "image")]
#[test]
fn image_files_cut_off_or_changed_are_errors_without_a_panic() {
    use layerwise::data::ImageFolder;
    let root = std::env::temp_dir().join(format!("layerwise-memory-{}", std::process::id()));
    std::fs::create_dir_all(root.join("a")).expect("a temporary folder");
    let image =
        image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([(20 * x) as u8, (30 * y) as u8, 90]));
    for name in ["a/x.png", "a/x.jpg"] {
        let path = root.join(name);
        image.save(&path).expect("saved");
        let file = std::fs::read(&path).expect("there");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("saved");
            let folder = ImageFolder::open(&root, [3, 4, 4])?;
            let (_, unreadable) = folder.load::<f32>()?;
            if unreadable.is_empty() { Ok(()) } else { Err(Error::Data("unreadable".into())) }
        };
        // Decoders have tables of their own, and may take as many pixels as the file could unpack to: decoded, as RGB,
        // and on the way to another size.
        let bound = |len: usize| 1100 * len * 8 + 1024 * 1024;
        let mutations = 4000;
        let whole = file.len();
        survive(name, &file, mutations, bound, |bytes| match read(bytes) {
            // A decoder may take the last bytes for granted.
            Ok(()) if bytes.len() < whole => Err(Error::Data("enough".into())),
            other => other,
        });
        std::fs::remove_file(&path).expect("there");
    }
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
