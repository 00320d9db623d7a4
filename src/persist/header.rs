//! The head of a safetensors file: which tensors lie where. Eight bytes with its length, then JSON, then the numbers.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Dtype;
use super::json::{Broken, Cursor, Span};
use super::problem::{FileProblems, shorten};

/// Bytes in front that tell the length of the JSON.
pub(super) const LENGTH: usize = 8;

/// The longest JSON, as in the reference implementation.
const LIMIT: u64 = 100_000_000;

/// The key of what the file says about itself.
pub(super) const METADATA: &str = "__metadata__";

/// A tensor in the file. Forty bytes: fewer than the JSON that it comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    name: Span,
    shape: Span,
    pub(super) dtype: Dtype,
    /// Where its bytes begin and end, counted from the end of the JSON.
    pub(super) from: u64,
    pub(super) to: u64,
}

/// The tensors of a file, by name, and where the numbers begin.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) entries: Vec<Entry>,
    metadata: Option<(usize, usize)>,
    /// End of the JSON.
    pub(super) end: usize,
}

/// What a tensor's object says, until all of it is there.
#[derive(Default)]
struct Fields {
    dtype: Option<Span>,
    shape: Option<Span>,
    offsets: Option<[u64; 2]>,
}

impl Header {
    /// Checks the head of a file of `len` bytes, noting every problem. `head`: the file, or as much of it as [`json_end`] says.
    /// `None` if nothing more can be said.
    pub(super) fn read(head: &[u8], len: usize, problems: &mut FileProblems) -> Option<Self> {
        let end = json_end(head, len, problems)?;
        let json = &head[LENGTH..end];
        if let Err(error) = std::str::from_utf8(json) {
            let at = error.valid_up_to();
            problems.add(None, || format!("header: needs UTF-8, but byte {at} is none"));
            return None;
        }
        let mut count = 0;
        let mut header = Self { entries: Vec::new(), metadata: None, end };
        let read = parse(json, &mut |_, _| count += 1, &mut |_| ()).and_then(|()| {
            // As many as there are and no more: growing would take half as much again.
            header.entries.reserve_exact(count);
            let metadata = &mut header.metadata;
            let entries = &mut header.entries;
            let each =
                &mut |name, fields: Fields| entries.extend(entry(json, name, fields, problems));
            parse(json, each, &mut |place| *metadata = Some(place))
        });
        if let Err(broken) = read {
            problems.add(None, || broken_text(json, broken));
            return None;
        }
        header.check_names(json, problems);
        header.check_places(json, len - end, problems);
        header.entries.sort_unstable_by(|a, b| compare(json, a.name, b.name));
        Some(header)
    }

    fn check_names(&mut self, json: &[u8], problems: &mut FileProblems) {
        self.entries.sort_unstable_by(|a, b| compare(json, a.name, b.name));
        for pair in self.entries.chunk_by(|a, b| compare(json, a.name, b.name).is_eq()) {
            if let [first, _, ..] = pair {
                let count = pair.len();
                problems.add(Some(&first.name(json)), || format!("is there {count} times"));
            }
        }
    }

    /// One after another, each inside the file and as long as its shape says, nothing between.
    fn check_places(&mut self, json: &[u8], len: usize, problems: &mut FileProblems) {
        self.entries.sort_unstable_by_key(|entry| (entry.from, entry.to));
        let mut last: Option<Entry> = None;
        let len = len as u64;
        for &entry in &self.entries {
            let name = entry.name(json);
            let (Entry { dtype, from, to, .. }, size) = (entry, entry.dtype.size() as u64);
            if from > to || to > len {
                problems.add(Some(&name), || {
                    format!("needs bytes within 0..{len}, the data of the file, got {from}..{to}")
                });
                continue;
            }
            let shape = shorten(entry.shape.of(json));
            match entry.bytes(json) {
                Some(needed) if needed == to - from => {}
                Some(needed) => problems.add(Some(&name), || {
                    format!("needs {needed} bytes for {dtype} {shape}, got {}", to - from)
                }),
                None => problems.add(Some(&name), || {
                    format!("needs a shape whose bytes can be counted, got {dtype} {shape}")
                }),
            }
            if from % size != 0 {
                problems.add(Some(&name), || {
                    format!("needs to begin at a multiple of {size} for {dtype}, got {from}")
                });
            }
            let end = last.map_or(0, |last| last.to);
            match from.cmp(&end) {
                Ordering::Less => {
                    let other = last.map(|last| shorten(&last.name(json))).unwrap_or_default();
                    problems.add(Some(&name), || format!("overlaps {other}, which ends at {end}"));
                }
                Ordering::Greater => problems.add(Some(&name), || {
                    format!("needs to begin at {end}, where the tensor before it ends, got {from}")
                }),
                Ordering::Equal => {}
            }
            if last.is_none_or(|last| to >= last.to) {
                last = Some(entry);
            }
        }
        let end = last.map_or(0, |last| last.to);
        if end < len && problems.count() == 0 {
            problems.add(None, || {
                format!("needs {end} bytes of data, got {len}; the rest belongs to no tensor")
            });
        }
    }

    /// The entry of this name.
    pub(super) fn find(&self, json: &[u8], name: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| (*entry.name(json)).cmp(name)).ok()?;
        self.entries.get(at)
    }

    /// What the metadata have under `key`.
    pub(super) fn metadata(&self, json: &[u8], key: &str) -> Option<String> {
        let (from, to) = self.metadata?;
        let text = json.get(from..to)?;
        let mut found = None;
        let read = Cursor::new(text).object(|cursor, name| {
            let value = cursor.string()?;
            if name.string(text) == key {
                found = Some(value.string(text).into_owned());
            }
            Ok(())
        });
        read.ok().and(found)
    }
}

impl Entry {
    pub(super) fn name<'a>(&self, json: &'a [u8]) -> Cow<'a, str> {
        self.name.string(json)
    }

    pub(super) fn shape(&self, json: &[u8]) -> Vec<usize> {
        let mut dims = Vec::new();
        self.each_dim(json, |dim| dims.push(usize::try_from(dim).unwrap_or(usize::MAX)));
        dims
    }

    fn each_dim(&self, json: &[u8], mut each: impl FnMut(u64)) {
        let mut cursor = Cursor::new(self.shape.of(json).as_bytes());
        // Read before, so it can be read again.
        let _ = cursor.array(|cursor| cursor.integer().map(&mut each));
    }

    /// Bytes that the shape asks for.
    fn bytes(&self, json: &[u8]) -> Option<u64> {
        let mut bytes = Some(self.dtype.size() as u64);
        self.each_dim(json, |dim| bytes = bytes.and_then(|bytes| bytes.checked_mul(dim)));
        bytes
    }
}

fn compare(json: &[u8], a: Span, b: Span) -> Ordering {
    a.string(json).cmp(&b.string(json))
}

/// Where the JSON of a file of `len` bytes ends, if there is so much. `head`: the file, or at least its first eight bytes.
pub(super) fn json_end(head: &[u8], len: usize, problems: &mut FileProblems) -> Option<usize> {
    let Some(&length) = head.first_chunk::<LENGTH>() else {
        problems
            .add(None, || format!("needs at least {LENGTH} bytes, got {len}; the file is cut off"));
        return None;
    };
    let (length, rest) = (u64::from_le_bytes(length), len - LENGTH);
    if length > LIMIT {
        problems.add(None, || {
            format!(
                "needs a header of at most {LIMIT} bytes, got {length}; is it a safetensors file?"
            )
        });
        return None;
    }
    match usize::try_from(length) {
        Ok(length) if length <= rest => Some(LENGTH + length),
        _ => {
            problems.add(None, || {
                format!("needs {length} bytes for the header, got {rest}; the file is cut off")
            });
            None
        }
    }
}

/// Calls `each` for every tensor, and `metadata` with the place of the object about the file itself.
fn parse(
    json: &[u8],
    each: &mut dyn FnMut(Span, Fields),
    metadata: &mut dyn FnMut((usize, usize)),
) -> Result<(), Broken> {
    let mut cursor = Cursor::new(json);
    let mut described = false;
    cursor.object(|cursor, name| {
        if name.string(json) == METADATA {
            if std::mem::replace(&mut described, true) {
                return cursor.broken("one __metadata__");
            }
            let from = cursor.place();
            cursor.object(|cursor, _| cursor.string().map(|_| ()))?;
            metadata((from, cursor.place()));
            return Ok(());
        }
        let mut fields = Fields::default();
        cursor.object(|cursor, key| {
            match &*key.string(json) {
                "dtype" if fields.dtype.is_none() => fields.dtype = Some(cursor.string()?),
                "shape" if fields.shape.is_none() => {
                    fields.shape = Some(cursor.array(|cursor| cursor.integer().map(|_| ()))?);
                }
                "data_offsets" if fields.offsets.is_none() => {
                    let (mut offsets, mut count) = ([0; 2], 0);
                    cursor.array(|cursor| {
                        let offset = cursor.integer()?;
                        match offsets.get_mut(count) {
                            Some(place) => *place = offset,
                            None => return cursor.broken("two offsets"),
                        }
                        count += 1;
                        Ok(())
                    })?;
                    if count != 2 {
                        return cursor.broken("two offsets");
                    }
                    fields.offsets = Some(offsets);
                }
                _ => return cursor.broken("dtype, shape and data_offsets, each once"),
            }
            Ok(())
        })?;
        each(name, fields);
        Ok(())
    })?;
    cursor.end()
}

/// A tensor of which everything is known.
fn entry(json: &[u8], name: Span, fields: Fields, problems: &mut FileProblems) -> Option<Entry> {
    let Fields { dtype, shape, offsets } = fields;
    let (Some(dtype), Some(shape), Some([from, to])) = (dtype, shape, offsets) else {
        let missing = [
            (dtype.is_none(), "dtype"),
            (shape.is_none(), "shape"),
            (offsets.is_none(), "data_offsets"),
        ];
        let missing = missing.iter().filter(|row| row.0).map(|row| row.1);
        let missing: Vec<_> = missing.collect();
        problems.add(Some(&name.string(json)), || format!("has no {}", missing.join(" and no ")));
        return None;
    };
    let Some(dtype) = Dtype::parse(&dtype.string(json)) else {
        let got = shorten(&dtype.string(json));
        problems.add(Some(&name.string(json)), || {
            format!("needs a known dtype, such as F32, got {got}")
        });
        return None;
    };
    Some(Entry { name, shape, dtype, from, to })
}

fn broken_text(json: &[u8], Broken { at, needs }: Broken) -> String {
    let rest = String::from_utf8_lossy(json.get(at..(at + 20).min(json.len())).unwrap_or_default());
    let got = if rest.is_empty() { "its end".into() } else { format!("`{}`", rest.trim_end()) };
    format!("header: needs {needs} at byte {at}, got {got}")
}
