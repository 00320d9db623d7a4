//! Tables of comma-separated values.

use std::collections::BTreeMap;
use std::io::Read;

use csv::{ErrorKind, ReaderBuilder, StringRecord};
use ndarray::ArrayD;

use super::Dataset;
use crate::{Error, Result, Scalar};

const CSV: &str = "CSV";

/// Reads tables: one column to be predicted, or several, and features in the others.
///
/// Every feature must be a finite number; classes may be any text. Quoting is that of RFC 4180. Empty lines are passed
/// over; an error in a line behind some names the first of them.
///
/// Memory follows what was read: the table as numbers, one name for each class, and the longest row.
///
/// # Examples
/// ```
/// use layerwise::data::Csv;
/// use layerwise::prelude::*;
///
/// let text = "petal length,petal width,species\n1.4,0.2,setosa\n4.7,1.4,versicolor\n1.3,0.2,setosa\n";
/// let iris = Csv::new().classes::<f32>(text.as_bytes(), "species")?;
/// assert_eq!(iris.classes, ["setosa", "versicolor"]);
/// assert_eq!(iris.features, ["petal length", "petal width"]);
/// assert_eq!(iris.data.targets(), &[0, 1, 0]);
/// assert_eq!(iris.data.sample(1), Some(&[4.7, 1.4][..]));
///
/// let error = Csv::new().values::<f32>("age,price\n3,old\n".as_bytes(), &["price"]).unwrap_err();
/// assert_eq!(error.to_string(), "CSV: line 2, column 2 `price`: needs a number, got `old`");
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Csv {
    delimiter: u8,
    header: bool,
    skip: Vec<String>,
}

/// A table with a column of classes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CsvClasses<F: Scalar = f32> {
    /// Samples `[n, features]` with the indices of their classes.
    pub data: Dataset<F>,
    /// Names of the features' columns.
    pub features: Vec<String>,
    /// Names of the classes, in alphabetical order: class 0, 1, …
    pub classes: Vec<String>,
}

/// A table with columns of values to be predicted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CsvValues<F: Scalar = f32> {
    /// Samples `[n, features]` with targets `[n, targets]`.
    pub data: Dataset<F, ArrayD<F>>,
    /// Names of the features' columns.
    pub features: Vec<String>,
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

impl Csv {
    /// Commas between the fields, and a first line of names.
    pub fn new() -> Self {
        Self { delimiter: b',', header: true, skip: Vec::new() }
    }

    /// What stands between the fields; default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// Whether the first line holds the columns' names; default true. If not, they are `0`, `1`, …
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Leaves out a column, such as a serial number.
    pub fn skip(mut self, column: impl Into<String>) -> Self {
        self.skip.push(column.into());
        self
    }

    /// Reads a table whose column `target` holds classes, as any text.
    ///
    /// # Errors
    /// [`Error::Format`], with line and column, for a row of another length, a feature that is not a finite
    /// number, an empty class, text that is not UTF-8, or a column that does not exist; [`Error::Data`] if
    /// there is no row or no feature; [`Error::Io`] if reading fails.
    pub fn classes<F: Scalar>(&self, reader: impl Read, target: &str) -> Result<CsvClasses<F>> {
        // A class's name is kept once, with a number in the order of appearance.
        let (mut samples, mut labels, mut found) = (Vec::new(), Vec::new(), BTreeMap::new());
        let names = self.rows(reader, &[target], |row, columns| {
            row.features(columns, &mut samples)?;
            let (column, label) = (columns.targets[0], row.text(columns.targets[0]));
            if label.is_empty() {
                return Err(row.wrong(column, "a class"));
            }
            let next = found.len();
            labels.push(match found.get(label) {
                Some(&number) => number,
                None => *found.entry(label.to_owned()).or_insert(next),
            });
            Ok(())
        })?;
        let mut alphabetical = vec![0; found.len()];
        found.values().enumerate().for_each(|(place, &number)| alphabetical[number] = place);
        labels.iter_mut().for_each(|label: &mut usize| *label = alphabetical[*label]);
        let data = Dataset::new(array(samples, labels.len(), names.len()), labels)?;
        Ok(CsvClasses { data, features: names, classes: found.into_keys().collect() })
    }

    /// Reads a table whose columns `targets` hold values.
    ///
    /// # Errors
    /// As [`Csv::classes`], of the targets too.
    pub fn values<F: Scalar>(&self, reader: impl Read, targets: &[&str]) -> Result<CsvValues<F>> {
        let (mut samples, mut values, mut rows) = (Vec::new(), Vec::new(), 0);
        let names = self.rows(reader, targets, |row, columns| {
            rows += 1;
            row.features(columns, &mut samples)?;
            row.numbers(&columns.targets, &mut values)
        })?;
        let targets = array(values, rows, targets.len());
        let data = Dataset::new(array(samples, rows, names.len()), targets)?;
        Ok(CsvValues { data, features: names })
    }

    /// Hands out every row; returns the names of the features.
    fn rows(
        &self,
        reader: impl Read,
        targets: &[&str],
        mut each: impl FnMut(Row<'_>, &Columns) -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            // Lengths are checked below, with a text of our own.
            .flexible(true)
            .from_reader(reader);
        let mut record = StringRecord::new();
        let mut columns: Option<Columns> = None;
        while reader.read_record(&mut record).map_err(unreadable)? {
            let columns = match &columns {
                Some(columns) => columns,
                None => {
                    let found = self.columns(&record, targets)?;
                    let found = columns.insert(found);
                    if self.header {
                        continue;
                    }
                    found
                }
            };
            let row = Row { record: &record, names: &columns.names };
            if record.len() != columns.names.len() {
                return Err(Error::format(
                    CSV,
                    format!(
                        "line {}: needs {} fields as in the first line, got {}",
                        row.line(),
                        columns.names.len(),
                        record.len()
                    ),
                ));
            }
            each(row, columns)?;
        }
        let Some(Columns { mut names, features, .. }) = columns else {
            return Err(Error::Data("the table is empty".into()));
        };
        Ok(features.iter().map(|&column| std::mem::take(&mut names[column])).collect())
    }

    /// Which column is what, from the first line.
    fn columns(&self, first: &StringRecord, targets: &[&str]) -> Result<Columns> {
        let names: Vec<String> = if self.header {
            first.iter().map(|name| name.trim().to_owned()).collect()
        } else {
            (0..first.len()).map(|column| column.to_string()).collect()
        };
        let find = |wanted: &str| {
            names.iter().position(|name| name == wanted).ok_or_else(|| {
                Error::format(
                    CSV,
                    format!("no column is called `{wanted}`; there are {}", names.join(", ")),
                )
            })
        };
        let targets = targets.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
        let skipped = self.skip.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
        let other = |column: &usize| !targets.contains(column) && !skipped.contains(column);
        let features = (0..names.len()).filter(other).collect();
        Ok(Columns { names, features, targets })
    }
}

/// Which column is what.
struct Columns {
    names: Vec<String>,
    features: Vec<usize>,
    targets: Vec<usize>,
}

/// A line of the table.
struct Row<'a> {
    record: &'a StringRecord,
    names: &'a [String],
}

impl Row<'_> {
    fn line(&self) -> u64 {
        self.record.position().map_or(0, |position| position.line())
    }

    fn text(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    fn features<F: Scalar>(&self, columns: &Columns, into: &mut Vec<F>) -> Result<()> {
        self.numbers(&columns.features, into)
    }

    fn numbers<F: Scalar>(&self, columns: &[usize], into: &mut Vec<F>) -> Result<()> {
        for &column in columns {
            match self.text(column).parse::<f64>() {
                Ok(number) if number.is_finite() => into.push(F::lit(number)),
                Ok(_) => return Err(self.wrong(column, "a finite number")),
                Err(_) => return Err(self.wrong(column, "a number")),
            }
        }
        Ok(())
    }

    fn wrong(&self, column: usize, needs: &str) -> Error {
        let got = match self.text(column) {
            "" => "nothing; fill it in, or leave the row out".into(),
            text => format!("`{}`", text.chars().take(40).collect::<String>()),
        };
        let (line, name) = (self.line(), &self.names[column]);
        Error::format(
            CSV,
            format!("line {line}, column {} `{name}`: needs {needs}, got {got}", column + 1),
        )
    }
}

fn unreadable(error: csv::Error) -> Error {
    let line = error.position().map_or(0, |position| position.line());
    match error.into_kind() {
        ErrorKind::Io(source) => Error::Io { action: "read CSV data", source },
        ErrorKind::Utf8 { err, .. } => {
            let column = err.field() + 1;
            Error::format(
                CSV,
                format!("line {line}, column {column}: needs UTF-8 text, got other bytes"),
            )
        }
        other => Error::format(CSV, format!("line {line}: {other:?}")),
    }
}

fn array<F: Scalar>(values: Vec<F>, rows: usize, columns: usize) -> ArrayD<F> {
    ArrayD::from_shape_vec(vec![rows, columns], values).expect("every row has as many numbers")
}
