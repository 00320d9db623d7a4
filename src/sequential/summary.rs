//! A model as a table.

use std::fmt;

use super::Node;
use crate::{Entry, Scalar, Shape, Visitor};

/// Layers, shapes and parameters of a model; displayed, a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Shape of one input sample.
    pub input: Shape,
    /// One row for each layer.
    pub rows: Vec<SummaryRow>,
    /// Learned numbers in all.
    pub parameters: usize,
    /// Of these, how many an optimizer may change.
    pub trainable: usize,
}

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// Its name: its position, unless it was given one.
    pub name: String,
    /// Its kind, such as `Conv2d`.
    pub kind: &'static str,
    /// Shape of one output sample.
    pub output: Shape,
    /// Learned numbers.
    pub parameters: usize,
    /// Of these, how many an optimizer may change.
    pub trainable: usize,
}

impl Summary {
    pub(super) fn new<F: Scalar>(input: &Shape, nodes: &[Node<F>]) -> Self {
        let rows: Vec<_> = nodes.iter().map(SummaryRow::new).collect();
        Self {
            input: input.clone(),
            parameters: rows.iter().map(|row| row.parameters).sum(),
            trainable: rows.iter().map(|row| row.trainable).sum(),
            rows,
        }
    }
}

impl SummaryRow {
    fn new<F: Scalar>(node: &Node<F>) -> Self {
        let (mut parameters, mut trainable) = (0, 0);
        node.layer.visit(&mut Visitor::new(&mut |_, entry| {
            if let Entry::Param(param) = entry {
                parameters += param.numel();
                trainable += if param.trainable() { param.numel() } else { 0 };
            }
        }));
        let (name, kind, output) = (node.name.clone(), node.layer.kind(), node.output.clone());
        Self { name, kind, output, parameters, trainable }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cells = vec![["name", "kind", "output", "parameters"].map(String::from)];
        cells.push(["", "input", &self.input.to_string(), ""].map(String::from));
        cells.extend(self.rows.iter().map(|row| {
            let frozen = if row.trainable < row.parameters { " (frozen)" } else { "" };
            let parameters = format!("{}{frozen}", row.parameters);
            [row.name.clone(), row.kind.into(), row.output.to_string(), parameters]
        }));
        let width =
            |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [a, b, c, d] = [width(0), width(1), width(2), width(3)];
        for (i, [name, kind, output, parameters]) in cells.iter().enumerate() {
            let line = format!("{name:a$}  {kind:b$}  {output:c$}  {parameters:>d$}");
            writeln!(f, "{}", line.trim_end())?;
            if i == 0 {
                writeln!(f, "{}", "─".repeat(a + b + c + d + 6))?;
            }
        }
        write!(f, "{} parameters, {} trainable", self.parameters, self.trainable)
    }
}
