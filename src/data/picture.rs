//! One image, decoded and brought to the size and colours of a sample.

use std::io::{Cursor, Read};

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use ndarray::ArrayD;

use crate::{Error, Result, Scalar, Shape};

/// Reads a PNG or JPEG stream to its end, as a sample `[channels, height, width]` with numbers from 0 to 1: grey for 1
/// channel, RGB for 3.
///
/// An image of another size is resized by averaging the pixels around (a triangle filter). This is what
/// [`super::ImageFolder`] does with each of its files: a model that was trained on a folder sees single images the same.
///
/// # Examples
/// ```
/// use layerwise::data::read_image;
///
/// let mut file = std::io::Cursor::new(Vec::new());
/// let image = image::RgbImage::from_pixel(10, 8, image::Rgb([255, 0, 51]));
/// image.write_to(&mut file, image::ImageFormat::Png).unwrap();
/// let x = read_image::<f32>(&file.get_ref()[..], [3, 4, 4])?;
/// assert_eq!(x.shape(), [3, 4, 4]);
/// assert_eq!([x[[0, 0, 0]], x[[1, 2, 3]], x[[2, 3, 3]]], [1.0, 0.0, 0.2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Memory
/// Pixels are more than the bytes they are packed in. A header is believed up to 1,100 pixels, and as many bytes of
/// pixels, for each byte of the file, since no more can be in it; nor is a side longer than 65,535. Up to 27 bytes for each
/// pixel and 16 for each of the sample's are in use while the image is decoded and resized.
///
/// # Errors
/// [`Error::Setting`] for a shape of another kind; [`Error::Format`] for what is no image, a broken one, or one that claims
/// more than its file can hold; [`Error::Io`] if reading fails.
pub fn read_image<F: Scalar>(mut reader: impl Read, shape: impl Into<Shape>) -> Result<ArrayD<F>> {
    let shape = shape.into();
    check_shape("read_image", &shape)?;
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { action: "read image data", source })?;
    let mut x = ArrayD::zeros(shape.dims());
    let pixels = x.as_slice_mut().expect("a new array is contiguous");
    decode(&bytes, &shape, pixels).map_err(|cause| Error::format("image", cause))?;
    Ok(x)
}

/// Whether samples of this shape can be made of images.
pub(super) fn check_shape(kind: &'static str, shape: &Shape) -> Result<()> {
    let valid = matches!(shape.dims(), [1 | 3, 1..=MOST, 1..=MOST]);
    let must_be = "[1 or 3, height, width], each at most 65535";
    crate::error::ensure(valid, kind, "shape", must_be, shape)
}

/// Decodes, resizes and scales one image to a sample of this shape.
pub(super) fn decode<F: Scalar>(bytes: &[u8], shape: &Shape, into: &mut [F]) -> Result<(), String> {
    let [channels, height, width] = shape.image().map_err(|error| error.to_string())?;
    let image = resized(pixels(bytes)?, height, width);
    let bytes =
        if channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    let table = super::idx::scaled::<F>(1.0 / 255.0);
    for (pixel, values) in bytes.chunks_exact(channels).enumerate() {
        for (channel, &value) in values.iter().enumerate() {
            into[channel * height * width + pixel] = table[usize::from(value)];
        }
    }
    Ok(())
}

fn resized(image: DynamicImage, height: usize, width: usize) -> DynamicImage {
    // At most 65,535: the shape was checked.
    let to = |image: &DynamicImage, height: usize, width: usize| {
        image.resize_exact(width as u32, height as u32, FilterType::Triangle)
    };
    match (image.height() as usize, image.width() as usize) {
        (h, w) if (h, w) == (height, width) => image,
        // Resizing goes by way of `[height, w]` in `f32`: large where a flat image is to become high.
        (h, w) if h < height && w > width => to(&to(&image, h, width), height, width),
        _ => to(&image, height, width),
    }
}

/// Longest side of an image.
const MOST: usize = 65_535;

/// Most bytes of pixels for each byte of a file: deflate, the tighter of the two codecs, packs at most 1,032 into one.
const DENSEST: u64 = 1_100;

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MOST as u32), Some(MOST as u32));
    limits.max_alloc = Some((bytes.len() as u64).saturating_mul(DENSEST).saturating_add(1 << 16));
    reader.limits(limits);
    Ok(reader)
}

/// Looks at the header of an image file alone.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), String> {
    let (width, height) = reader(bytes)?.into_dimensions().map_err(|error| error.to_string())?;
    // A header may claim what it likes; the file cannot hold more than so much.
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > (bytes.len() as u64).saturating_mul(DENSEST) {
        let len = bytes.len();
        return Err(format!("claims {width} × {height} pixels in {len} bytes"));
    }
    Ok(())
}

fn pixels(bytes: &[u8]) -> Result<DynamicImage, String> {
    check_header(bytes)?;
    reader(bytes)?.decode().map_err(|error| error.to_string())
}
