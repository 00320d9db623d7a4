//! Folders of image files.

use std::fs::read_dir;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::{Dataset, Source, picture};
use crate::kernels::parallel::{self, Cost, Read, Write};
use crate::{Error, Result, Scalar, Shape};

/// PNG and JPEG files in folders, one folder for each class, decoded and resized when they are read.
///
/// Classes are the folders' names in alphabetical order. Pixels are numbers from 0 to 1; images become grey or
/// RGB and `[height, width]` as asked for, as [`super::read_image`] does it. Only the batch in
/// use is in memory; [`ImageFolder::load`] holds all of it.
///
/// # Examples
/// ```
/// use layerwise::data::ImageFolder;
/// use layerwise::prelude::*;
///
/// let root = std::env::temp_dir().join(format!("layerwise-folder-{}", std::process::id()));
/// for (class, colour) in [("black", 0), ("white", 255)] {
///     std::fs::create_dir_all(root.join(class)).unwrap();
///     image::RgbImage::from_pixel(10, 8, image::Rgb([colour; 3])).save(root.join(class).join("a.png")).unwrap();
/// }
/// std::fs::write(root.join("white").join("notes.txt"), "not an image").unwrap();
///
/// let folder = ImageFolder::open(&root, [3, 4, 4])?;
/// assert_eq!(folder.classes(), ["black", "white"]);
/// assert_eq!(folder.unreadable().len(), 1);
/// let mut batches = folder.batches(2)?;
/// let batch = batches.next_batch()?.unwrap();
/// assert_eq!(batch.x.shape(), [2, 3, 4, 4]);
/// assert_eq!((batch.x[[0, 0, 0, 0]], batch.x[[1, 2, 3, 3]]), (0.0f32, 1.0));
/// # std::fs::remove_dir_all(&root).unwrap();
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ImageFolder {
    files: Vec<(PathBuf, usize)>,
    classes: Vec<String>,
    shape: Shape,
    unreadable: Vec<Unreadable>,
}

/// A file that is not an image, or a broken one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be read.
    pub cause: String,
}

impl ImageFolder {
    /// Looks through the folders of `root` and reads the header of every file in them. `shape`: of the samples,
    /// `[channels, height, width]` with 1 channel (grey) or 3 (RGB).
    ///
    /// # Errors
    /// [`Error::Setting`] for a shape of another kind; [`Error::File`] if a folder cannot be read;
    /// [`Error::Data`] if there is no readable image. Files that are no images are no error: see
    /// [`ImageFolder::unreadable`].
    pub fn open(root: impl AsRef<Path>, shape: impl Into<Shape>) -> Result<Self> {
        let (root, shape) = (root.as_ref(), shape.into());
        picture::check_shape("ImageFolder", &shape)?;
        let mut folder =
            Self { files: Vec::new(), classes: Vec::new(), shape, unreadable: Vec::new() };
        for class in entries(root)?.into_iter().filter(|path| path.is_dir()) {
            let name = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for file in entries(&class)?.into_iter().filter(|path| !path.is_dir()) {
                match read(&file).and_then(|bytes| picture::check_header(&bytes)) {
                    Ok(()) => folder.files.push((file, folder.classes.len())),
                    Err(cause) => folder.unreadable.push(Unreadable { path: file, cause }),
                }
            }
            folder.classes.push(name);
        }
        if folder.files.is_empty() {
            let (root, count) = (root.display(), folder.unreadable.len());
            return Err(Error::Data(format!(
                "no readable image in the folders of {root} ({count} unreadable files); it needs one folder for each class"
            )));
        }
        Ok(folder)
    }

    /// Names of the classes: class 0, 1, …
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The image files, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// Files among the images that are none. A file whose header is good may still turn out broken when it is
    /// read; the error then names it.
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// All images in memory, and the files left out: those that are not images, and those that turned out
    /// broken.
    ///
    /// # Errors
    /// [`Error::Data`] if no image could be read.
    pub fn load<F: Scalar>(&self) -> Result<(Dataset<F>, Vec<Unreadable>)> {
        let len = self.shape.numel();
        let (mut x, mut targets) = (Vec::new(), Vec::new());
        let mut unreadable = self.unreadable.clone();
        let mut pixels = vec![F::zero(); len];
        for (path, class) in &self.files {
            match self.decode(path, &mut pixels) {
                Ok(()) => {
                    x.extend_from_slice(&pixels);
                    targets.push(*class);
                }
                Err(cause) => unreadable.push(Unreadable { path: path.clone(), cause }),
            }
        }
        let dims = [&[targets.len()], self.shape.dims()].concat();
        let samples = ndarray::ArrayD::from_shape_vec(dims, x).expect("made for this shape");
        Ok((Dataset::new(samples, targets)?, unreadable))
    }

    /// Decodes, resizes and scales one image.
    fn decode<F: Scalar>(&self, path: &Path, into: &mut [F]) -> Result<(), String> {
        picture::decode(&read(path)?, &self.shape, into)
    }
}

impl<F: Scalar> Source<F> for ImageFolder {
    type Targets = Vec<usize>;

    fn len(&self) -> usize {
        self.files.len()
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn room(&self, rows: usize) -> Vec<usize> {
        vec![0; rows]
    }

    fn read(&self, rows: &[usize], x: &mut [F], targets: &mut Vec<usize>) -> Result<()> {
        for (target, &row) in targets.iter_mut().zip(rows) {
            *target = self.files[row].1;
        }
        // The first row's error, whichever thread meets one first.
        let failed: Mutex<Option<(usize, String)>> = Mutex::new(None);
        // Decoding takes some 20 nanoseconds a pixel.
        let cost = Cost::elements(x.len().saturating_mul(100));
        parallel::chunks((Write(x, self.shape.numel()), Read(rows, 1)), cost, |at, (x, row)| {
            if let Err(cause) = self.decode(&self.files[row[0]].0, x) {
                let mut failed = failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if failed.as_ref().is_none_or(|&(first, _)| at < first) {
                    *failed = Some((at, cause));
                }
            }
        });
        match failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            None => Ok(()),
            Some((at, cause)) => {
                let path = self.files[rows[at]].0.display();
                Err(Error::format("image", format!("{path}: {cause}")))
            }
        }
    }
}

/// What a folder holds, sorted by name, so that every system gives the same order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |source| Error::File { action: "read the folder", path: folder.into(), source };
    let mut paths = Vec::new();
    for entry in read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| error.to_string())
}
