//! Labelled images kept as the bytes of their files.

use std::fmt;
use std::io::Read;

use super::idx::{check_length, read_shape, scaled};
use super::{Dataset, Source};
use crate::{Error, Result, Scalar, Shape};

/// Labelled images kept as the bytes of their files, in memory or mapped, and turned into numbers batch by
/// batch: MNIST and its relatives, CIFAR-10, CIFAR-100.
///
/// A quarter of the memory of `f32`, and none at all where the file is mapped (feature `mmap`). The numbers are
/// the same, to the bit, as those of a [`Dataset`] made from the same file with the same scale.
///
/// # Examples
/// ```
/// use layerwise::data::ByteImages;
/// use layerwise::prelude::*;
///
/// let images = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 51, 102, 255]; // two of 1 × 2
/// let labels = [0, 0, 8, 1, 0, 0, 0, 2, 7, 3];
/// let source = ByteImages::idx(&images[..], &labels[..])?;
/// let mut batches: Batches<f32, _> = source.batches(2)?;
/// let batch = batches.next_batch()?.unwrap();
/// assert_eq!(batch.x.shape(), [2, 1, 1, 2]);
/// assert_eq!(batch.x.as_slice().unwrap(), [0.0, 0.2, 0.4, 1.0]);
/// assert_eq!(batch.target, [7, 3]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone)]
pub struct ByteImages<B = Vec<u8>> {
    pixels: B,
    /// `None` where they lie among the pixels.
    labels: Option<B>,
    pixel_place: Place,
    label_place: Place,
    count: usize,
    shape: Shape,
    scale: f64,
}

/// Sample `i` begins at `first + i · stride`.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    stride: usize,
}

/// Its shape, not its contents.
impl<B> fmt::Debug for ByteImages<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteImages({} of {})", self.count, self.shape)
    }
}

const CIFAR_SHAPE: [usize; 3] = [3, 32, 32];
const CIFAR_PIXELS: usize = 3 * 32 * 32;

/// Reads CIFAR-10's binary files to their end: for each image a class from 0 to 9, then 1024 red, 1024
/// green and 1024 blue values. For several files, chain the readers.
///
/// ```
/// use layerwise::data::read_cifar10;
/// use layerwise::prelude::*;
///
/// let file = [&[6][..], &[255; 3072], &[9], &[0; 3072]].concat();
/// let data: Dataset = read_cifar10(&file[..])?.to_dataset()?;
/// assert_eq!((data.len(), data.shape().dims()), (2, &[3, 32, 32][..]));
/// assert_eq!((data.targets(), data.samples()[[0, 2, 31, 31]]), (&vec![6, 9], 1.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// [`Error::Format`] if the length is not that of whole images, or a class is out of range; [`Error::Io`] if
/// reading fails.
pub fn read_cifar10(reader: impl Read) -> Result<ByteImages> {
    ByteImages::cifar10(read_all(reader)?)
}

/// Reads CIFAR-100's binary files to their end: for each image one of 20 coarse classes, one of 100 fine
/// classes, then the pixels as in CIFAR-10. Fine classes are the targets; [`ByteImages::coarse`] takes the
/// others.
///
/// ```
/// use layerwise::data::read_cifar100;
/// use layerwise::prelude::*;
///
/// let file = [&[19, 87][..], &[0; 3072]].concat();
/// let images = read_cifar100(&file[..])?;
/// assert_eq!(images.to_dataset::<f32>()?.targets(), &[87]);
/// assert_eq!(images.coarse()?.to_dataset::<f32>()?.targets(), &[19]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// As [`read_cifar10`].
pub fn read_cifar100(reader: impl Read) -> Result<ByteImages> {
    ByteImages::cifar100(read_all(reader)?)
}

fn read_all(mut reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(Error::Io { action: "read CIFAR data", source }),
    }
}

impl<B: AsRef<[u8]>> ByteImages<B> {
    /// Grey images `[n, height, width]` and their labels, from the contents of two IDX files; see
    /// [`super::read_idx`] for the format. A sample is `[1, height, width]`.
    ///
    /// # Errors
    /// [`Error::Format`] if a file is not what its header says, or the two have different numbers.
    pub fn idx(images: B, labels: B) -> Result<Self> {
        let (image_shape, pixels) = idx_header(images.as_ref())?;
        let (label_shape, first_label) = idx_header(labels.as_ref())?;
        let &[count, height, width] = image_shape.dims() else {
            return Err(Error::format(
                "IDX",
                format!("images need three axes [n, height, width], got {image_shape}"),
            ));
        };
        if height == 0 || width == 0 {
            return Err(Error::format(
                "IDX",
                format!("images need at least one pixel, got {image_shape}"),
            ));
        }
        if label_shape.dims() != [count] {
            return Err(Error::format(
                "IDX",
                format!("{count} images need labels [{count}], got {label_shape}"),
            ));
        }
        Ok(Self {
            pixels: images,
            labels: Some(labels),
            pixel_place: Place { first: pixels, stride: height * width },
            label_place: Place { first: first_label, stride: 1 },
            count,
            shape: [1, height, width].into(),
            scale: 1.0 / 255.0,
        })
    }

    /// The contents of a CIFAR-10 file; see [`read_cifar10`].
    ///
    /// # Errors
    /// As [`read_cifar10`], but for reading.
    pub fn cifar10(file: B) -> Result<Self> {
        Self::cifar("CIFAR-10", file, &[10], 0)
    }

    /// The contents of a CIFAR-100 file; see [`read_cifar100`].
    ///
    /// # Errors
    /// As [`read_cifar100`], but for reading.
    pub fn cifar100(file: B) -> Result<Self> {
        Self::cifar("CIFAR-100", file, &[20, 100], 1)
    }

    /// Records of some labels, each below its number of classes, and the pixels. Label number `target` is
    /// the target.
    fn cifar(format: &'static str, file: B, classes: &[u8], target: usize) -> Result<Self> {
        let stride = classes.len() + CIFAR_PIXELS;
        let bytes = file.as_ref();
        let (count, rest) = (bytes.len() / stride, bytes.len() % stride);
        if rest > 0 {
            return Err(Error::format(
                format,
                format!(
                    "needs whole images of {stride} bytes, got {count} and {rest} bytes; the file is cut off"
                ),
            ));
        }
        for (image, record) in bytes.chunks_exact(stride).enumerate() {
            if let Some((class, most)) =
                record.iter().zip(classes).find(|(class, most)| class >= most)
            {
                return Err(Error::format(
                    format,
                    format!(
                        "class {class} of image {image} is out of range: there are {most} (0 to {})",
                        most - 1
                    ),
                ));
            }
        }
        Ok(Self {
            pixels: file,
            labels: None,
            pixel_place: Place { first: classes.len(), stride },
            label_place: Place { first: target, stride },
            count,
            shape: CIFAR_SHAPE.into(),
            scale: 1.0 / 255.0,
        })
    }

    /// CIFAR-100 with its 20 coarse classes as targets.
    ///
    /// # Errors
    /// [`Error::Format`] if these are other images.
    pub fn coarse(mut self) -> Result<Self> {
        if self.pixel_place.first != 2 || self.labels.is_some() {
            return Err(Error::format("CIFAR-100", "coarse classes are in CIFAR-100 only"));
        }
        self.label_place.first = 0;
        Ok(self)
    }

    /// What a byte is multiplied by; default 1/255, which gives numbers from 0 to 1.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The class of every image.
    pub fn classes(&self) -> Vec<usize> {
        (0..self.count).map(|image| self.class(image)).collect()
    }

    /// All images as numbers, in memory.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none.
    pub fn to_dataset<F: Scalar>(&self) -> Result<Dataset<F>> {
        let mut x = vec![F::zero(); self.count * self.shape.numel()];
        self.write(0..self.count, &mut x);
        let dims = [&[self.count], self.shape.dims()].concat();
        let samples = ndarray::ArrayD::from_shape_vec(dims, x);
        Dataset::new(samples.expect("made for this shape"), self.classes())
    }

    fn class(&self, image: usize) -> usize {
        let bytes = self.labels.as_ref().unwrap_or(&self.pixels).as_ref();
        usize::from(bytes[self.label_place.first + image * self.label_place.stride])
    }

    fn write<F: Scalar>(&self, images: impl Iterator<Item = usize>, x: &mut [F]) {
        let table = scaled::<F>(self.scale);
        let (bytes, len) = (self.pixels.as_ref(), self.shape.numel());
        for (x, image) in x.chunks_exact_mut(len).zip(images) {
            let from = self.pixel_place.first + image * self.pixel_place.stride;
            for (x, &byte) in x.iter_mut().zip(&bytes[from..from + len]) {
                *x = table[usize::from(byte)];
            }
        }
    }
}

impl<F: Scalar, B: AsRef<[u8]> + Send + Sync> Source<F> for ByteImages<B> {
    type Targets = Vec<usize>;

    fn len(&self) -> usize {
        self.count
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn room(&self, rows: usize) -> Vec<usize> {
        vec![0; rows]
    }

    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut Vec<usize>) -> Result<()> {
        self.write(rows.iter().copied(), x);
        for (target, &row) in targets.iter_mut().zip(rows) {
            *target = self.class(row);
        }
        Ok(())
    }
}

/// The shape of an IDX file whose length is right, and where its elements begin.
fn idx_header(file: &[u8]) -> Result<(Shape, usize)> {
    let mut rest = file;
    let shape = read_shape(&mut rest)?;
    check_length(&shape, rest.len())?;
    Ok((shape, file.len() - rest.len()))
}

#[cfg(feature = "mmap")]
mod mapped {
    use std::path::Path;

    use super::ByteImages;
    use crate::Result;
    use crate::data::Map;

    impl ByteImages<Map> {
        /// Maps two IDX files, not compressed, of images and labels.
        ///
        /// # Errors
        /// [`crate::Error::File`] if one cannot be mapped, and as [`ByteImages::idx`].
        pub fn open_idx(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
            let path = images.as_ref();
            Self::idx(Map::open(path)?, Map::open(labels)?).map_err(|error| error.in_file(path))
        }

        /// Maps a CIFAR-10 file; [`crate::data::Concat`] puts several together.
        ///
        /// # Errors
        /// [`crate::Error::File`] if it cannot be mapped, and as [`ByteImages::cifar10`].
        pub fn open_cifar10(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref();
            Self::cifar10(Map::open(path)?).map_err(|error| error.in_file(path))
        }

        /// Maps a CIFAR-100 file.
        ///
        /// # Errors
        /// [`crate::Error::File`] if it cannot be mapped, and as [`ByteImages::cifar100`].
        pub fn open_cifar100(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref();
            Self::cifar100(Map::open(path)?).map_err(|error| error.in_file(path))
        }
    }
}
