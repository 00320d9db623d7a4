//! What is wrong with a file of weights, all together.

use std::fmt;
use std::path::Path;

/// At most so many problems are listed, and the others counted: a hostile file has one in every few bytes.
const LISTED: usize = 100;

/// At most so many characters of a name are shown.
const SHOWN: usize = 200;

/// A file of weights that cannot be used, with everything that is wrong with it. The model is as it was.
///
/// ```
/// use layerwise::prelude::*;
///
/// let saved = Sequential::builder([3]).add(Linear::new(2)).build()?.to_bytes()?;
/// let mut model = Sequential::builder([4]).add(Linear::new(2)).add(BatchNorm::new()).build()?;
/// let error = model.load_bytes(&saved).unwrap_err();
/// assert_eq!(error.to_string(), "\
/// bytes: 5 problems
///   0.weight: needs [2, 4], got [2, 3]
///   1.weight: needed by the model, is missing
///   1.bias: needed by the model, is missing
///   1.running_mean: needed by the model, is missing
///   1.running_var: needed by the model, is missing");
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblems {
    file: String,
    problems: Vec<Problem>,
    count: usize,
}

/// One thing that is wrong with a file of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The tensor, unless it is the file as a whole.
    pub tensor: Option<String>,
    /// What was needed and what was found.
    pub message: String,
}

impl FileProblems {
    /// Of the file at `path`, or of bytes.
    pub(super) fn new(path: Option<&Path>) -> Self {
        let file = path.map_or_else(|| "bytes".into(), |path| path.display().to_string());
        Self { file, problems: Vec::new(), count: 0 }
    }

    /// The file, or `bytes`.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The first hundred, by the place in the file or in the model.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, tensor: Option<&str>, message: impl FnOnce() -> String) {
        self.count += 1;
        if self.problems.len() < LISTED {
            let tensor = tensor.map(shorten);
            self.problems.push(Problem { tensor, message: message() });
        }
    }

    /// The error, if there was any problem.
    pub(super) fn into_result(self) -> crate::Result<()> {
        if self.count == 0 { Ok(()) } else { Err(crate::Error::Weights(Box::new(self))) }
    }
}

impl From<FileProblems> for crate::Error {
    fn from(problems: FileProblems) -> Self {
        Self::Weights(Box::new(problems))
    }
}

/// The beginning of a name that may be as long as the file.
pub(super) fn shorten(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.into(),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tensor) = &self.tensor {
            write!(f, "{tensor}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([problem], 1) = (&self.problems[..], self.count) {
            return write!(f, "{}: {problem}", self.file);
        }
        write!(f, "{}: {} problems", self.file, self.count)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        match self.count - self.problems.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
