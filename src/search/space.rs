//! What to search through.

use std::collections::HashSet;
use std::fmt;

use crate::error::ensure;
use crate::{Error, Result, Rng, Seed};

/// Hyperparameters and the ranges they are drawn from.
///
/// Draw learning rates and penalties log-uniformly: what matters is their order of magnitude.
///
/// # Examples
/// ```
/// use layerwise::search::Space;
/// use layerwise::Seed;
///
/// let space = Space::new()
///     .log_uniform("lr", 1e-6, 10.0)
///     .uniform("dropout", 0.0, 0.5)
///     .log_integer("units", 16, 512)
///     .choice("rule", &["sgd", "adam"])
///     .when("rule", "sgd", |space| space.uniform("momentum", 0.5, 0.99));
/// let point = space.draw(Seed::new(1))?;
/// assert!(point.number("lr")? > 1e-6);
/// assert_eq!(point.has("momentum"), point.choice("rule")? == "sgd");
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// # Errors
/// A search and [`Space::draw`] fail with [`Error::Setting`] for bounds that are inverted or not finite, a log-uniform range that
/// does not begin above 0, a choice without options, a name that comes twice, and a condition on what is not there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Space {
    dimensions: Vec<Dimension>,
}

/// One hyperparameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) range: Range,
    /// Name and option of the choices that it depends on.
    conditions: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    Number { low: f64, high: f64, log: bool },
    Integer { low: i64, high: i64, log: bool },
    Choice(Vec<String>),
}

impl Space {
    /// A space without parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// A number from `low` to `high`.
    pub fn uniform(self, name: &str, low: f64, high: f64) -> Self {
        self.with(name, Range::Number { low, high, log: false })
    }

    /// A number whose logarithm is uniform from `low`, above 0, to `high`: `10^U(log₁₀ low, log₁₀ high)`.
    pub fn log_uniform(self, name: &str, low: f64, high: f64) -> Self {
        self.with(name, Range::Number { low, high, log: true })
    }

    /// A whole number from `low` to `high`, both included.
    pub fn integer(self, name: &str, low: i64, high: i64) -> Self {
        self.with(name, Range::Integer { low, high, log: false })
    }

    /// A whole number from `low`, at least 1, to `high`, both included, small ones as likely as large ones of the same
    /// ratio.
    pub fn log_integer(self, name: &str, low: i64, high: i64) -> Self {
        self.with(name, Range::Integer { low, high, log: true })
    }

    /// One of several options.
    pub fn choice(self, name: &str, options: &[&str]) -> Self {
        self.with(name, Range::Choice(options.iter().map(|option| option.to_string()).collect()))
    }

    /// Parameters that exist only where the choice `name` falls on `option`.
    pub fn when(mut self, name: &str, option: &str, inner: impl FnOnce(Space) -> Space) -> Self {
        for mut dimension in inner(Space::new()).dimensions {
            dimension.conditions.insert(0, (name.into(), option.into()));
            self.dimensions.push(dimension);
        }
        self
    }

    fn with(mut self, name: &str, range: Range) -> Self {
        self.dimensions.push(Dimension { name: name.into(), range, conditions: Vec::new() });
        self
    }

    /// A random point. Each parameter has a stream of its own: one more changes none of the others.
    ///
    /// # Errors
    /// See [`Space`].
    pub fn draw(&self, seed: Seed) -> Result<Point> {
        self.check()?;
        let mut point = Point::default();
        for dimension in &self.dimensions {
            if dimension.is_active(&point) {
                let value = dimension.range.draw(&mut seed.fold_str(&dimension.name).rng());
                point.0.push((dimension.name.clone(), value));
            }
        }
        Ok(point)
    }

    /// All points with `per_range` evenly spaced values of every range, its bounds included, and every option of each choice.
    pub(super) fn grid(&self, per_range: usize, most: usize) -> Result<Vec<Point>> {
        self.check()?;
        ensure(per_range > 0, "Space", "per_range", "at least 1", per_range)?;
        let mut points = vec![Point::default()];
        for dimension in &self.dimensions {
            let levels = dimension.range.levels(per_range);
            let mut next = Vec::new();
            for point in points {
                if !dimension.is_active(&point) {
                    next.push(point);
                    continue;
                }
                for value in &levels {
                    let mut point = point.clone();
                    point.0.push((dimension.name.clone(), value.clone()));
                    next.push(point);
                }
                ensure(next.len() <= most, "Space", "grid", "at most a million points", "more")?;
            }
            points = next;
        }
        Ok(points)
    }

    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    pub(super) fn dimensions_mut(&mut self) -> &mut [Dimension] {
        &mut self.dimensions
    }

    pub(super) fn check(&self) -> Result<()> {
        let mut names = HashSet::new();
        for (i, dimension) in self.dimensions.iter().enumerate() {
            let name = &dimension.name;
            let new = names.insert(name);
            ensure(new, "Space", "name", "one that comes once", format_args!("{name} twice"))?;
            dimension.range.check(name)?;
            for (parent, option) in &dimension.conditions {
                let known = self.dimensions[..i].iter().any(|other| match &other.range {
                    Range::Choice(options) => other.name == *parent && options.contains(option),
                    _ => false,
                });
                let got = format_args!("{parent} = {option} for {name}");
                ensure(
                    known,
                    "Space",
                    "condition",
                    "an option of a choice that comes before",
                    got,
                )?;
            }
        }
        Ok(())
    }
}

/// The parameters and ranges, one after another.
impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Dimension { name, range, conditions }) in self.dimensions.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}{name}: {range}")?;
            for (parent, option) in conditions {
                write!(f, " if {parent} is {option}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high, kind, log): (&dyn fmt::Display, &dyn fmt::Display, _, _) = match self {
            Self::Number { low, high, log } => (low, high, "number", log),
            Self::Integer { low, high, log } => (low, high, "integer", log),
            Self::Choice(options) => return write!(f, "one of {}", options.join(", ")),
        };
        write!(f, "{}{kind} from {low} to {high}", if *log { "log-uniform " } else { "" })
    }
}

impl Dimension {
    pub(super) fn is_active(&self, point: &Point) -> bool {
        self.conditions.iter().all(|(parent, option)| {
            matches!(point.get(parent), Some(Value::Choice(chosen)) if chosen == option)
        })
    }
}

impl Range {
    fn check(&self, name: &str) -> Result<()> {
        let (inverted, below) = match self {
            Self::Number { low, high, log } => {
                let finite = low.is_finite() && high.is_finite();
                let got = format_args!("{low} to {high} for {name}");
                ensure(finite, "Space", "bounds", "finite", got)?;
                (low > high, *log && *low <= 0.0)
            }
            Self::Integer { low, high, log } => {
                let exact = low.unsigned_abs().max(high.unsigned_abs()) <= 1 << 52;
                let got = format_args!("{low} to {high} for {name}");
                ensure(exact, "Space", "bounds", "at most 2^52", got)?;
                (low > high, *log && *low < 1)
            }
            Self::Choice(options) => {
                let unique: HashSet<_> = options.iter().collect();
                let valid = !options.is_empty() && unique.len() == options.len();
                let got = format_args!("{options:?} for {name}");
                return ensure(valid, "Space", "options", "at least one, each once", got);
            }
        };
        let got = format_args!("{self} for {name}");
        ensure(!inverted, "Space", "bounds", "the lower one first", got)?;
        ensure(!below, "Space", "bounds", "above 0 for a log-uniform range", got)
    }

    fn draw(&self, rng: &mut Rng) -> Value {
        match self {
            Self::Choice(options) => Value::Choice(options[rng.below(options.len())].clone()),
            _ => self.at(rng.uniform()),
        }
    }

    /// The value at a share of the way from low to high, from 0 to 1. Of a whole number each has an equal part.
    fn at(&self, share: f64) -> Value {
        let walk = |low: f64, high: f64, log: bool| {
            let value =
                if log { low * (high / low).powf(share) } else { low + (high - low) * share };
            value.clamp(low, high)
        };
        match self {
            Self::Number { low, high, log } => Value::Number(walk(*low, *high, *log)),
            Self::Integer { low, high, log } => {
                // Half a unit more on both sides, so that the bounds come as often as the rest.
                let value = walk(*low as f64 - 0.5, *high as f64 + 0.5, *log).round();
                Value::Integer((value as i64).clamp(*low, *high))
            }
            Self::Choice(options) => {
                let at = (share * options.len() as f64) as usize;
                Value::Choice(options[at.min(options.len() - 1)].clone())
            }
        }
    }

    /// Where a value lies between low and high, from 0 to 1; `None` for a choice.
    pub(super) fn share_of(&self, value: &Value) -> Option<f64> {
        let (low, high, log, value) = match (self, value) {
            (Self::Number { low, high, log }, Value::Number(value)) => (*low, *high, *log, *value),
            (Self::Integer { low, high, log }, Value::Integer(value)) => {
                (*low as f64, *high as f64, *log, *value as f64)
            }
            _ => return None,
        };
        let share = match log {
            true => (value / low).ln() / (high / low).ln(),
            false => (value - low) / (high - low),
        };
        Some(if share.is_finite() { share } else { 0.5 })
    }

    /// The part of this range between two shares, from 0 to 1.
    pub(super) fn part(&self, from: f64, to: f64) -> Self {
        let (from, to) = (from.clamp(0.0, 1.0), to.clamp(0.0, 1.0));
        match (self, self.at_exact(from), self.at_exact(to)) {
            (Self::Number { log, .. }, low, high) => Self::Number { low, high, log: *log },
            (Self::Integer { log, low: first, high: last }, low, high) => {
                let low = (low.floor() as i64).clamp(*first, *last);
                Self::Integer { low, high: (high.ceil() as i64).clamp(low, *last), log: *log }
            }
            (Self::Choice(options), ..) => Self::Choice(options.clone()),
        }
    }

    fn at_exact(&self, share: f64) -> f64 {
        let (low, high, log) = match self {
            Self::Number { low, high, log } => (*low, *high, *log),
            Self::Integer { low, high, log } => (*low as f64, *high as f64, *log),
            Self::Choice(_) => return 0.0,
        };
        if log { low * (high / low).powf(share) } else { low + (high - low) * share }
            .clamp(low, high)
    }

    fn levels(&self, count: usize) -> Vec<Value> {
        if let Self::Choice(options) = self {
            return options.iter().cloned().map(Value::Choice).collect();
        }
        let level = |i: usize| {
            let share = if count == 1 { 0.5 } else { i as f64 / (count - 1) as f64 };
            match self {
                Self::Integer { .. } => Value::Integer(self.at_exact(share).round() as i64),
                _ => Value::Number(self.at_exact(share)),
            }
        };
        let mut levels: Vec<_> = (0..count).map(level).collect();
        levels.dedup();
        levels
    }
}

/// A value of a hyperparameter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Of [`Space::uniform`] and [`Space::log_uniform`].
    Number(f64),
    /// Of [`Space::integer`] and [`Space::log_integer`].
    Integer(i64),
    /// Of [`Space::choice`].
    Choice(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Choice(value) => f.write_str(value),
        }
    }
}

/// Values of the hyperparameters of one trial.
///
/// ```
/// use layerwise::search::{Point, Value};
///
/// let point = Point::from_iter([("lr".to_string(), Value::Number(0.1))]);
/// assert_eq!(point.number("lr")?, 0.1);
/// assert!(point.integer("lr").is_err());
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point(pub(super) Vec<(String, Value)>);

impl FromIterator<(String, Value)> for Point {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Point {
    /// The value of a parameter, unless a condition leaves it out.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Whether this point has the parameter.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values, in the space's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A number; a whole one too.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is no such parameter, or it is of another kind.
    pub fn number(&self, name: &str) -> Result<f64> {
        match self.required(name)? {
            Value::Number(value) => Ok(*value),
            Value::Integer(value) => Ok(*value as f64),
            other => Err(wrong_kind(name, "a number", other)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// As [`Point::number`].
    pub fn integer(&self, name: &str) -> Result<i64> {
        match self.required(name)? {
            Value::Integer(value) => Ok(*value),
            other => Err(wrong_kind(name, "a whole number", other)),
        }
    }

    /// A whole number of at least 0, such as a layer's width.
    ///
    /// # Errors
    /// As [`Point::number`].
    pub fn size(&self, name: &str) -> Result<usize> {
        let value = self.required(name)?;
        match value {
            Value::Integer(size) => usize::try_from(*size).ok(),
            _ => None,
        }
        .ok_or_else(|| wrong_kind(name, "a whole number of at least 0", value))
    }

    /// The option that was chosen.
    ///
    /// # Errors
    /// As [`Point::number`].
    pub fn choice(&self, name: &str) -> Result<&str> {
        match self.required(name)? {
            Value::Choice(value) => Ok(value),
            other => Err(wrong_kind(name, "a choice", other)),
        }
    }

    fn required(&self, name: &str) -> Result<&Value> {
        let known = || self.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        self.get(name).ok_or_else(|| {
            let must_be = "a parameter that this point has";
            Error::setting("Point", "name", must_be, format!("{name}; it has {}", known()))
        })
    }
}

fn wrong_kind(name: &str, wanted: &'static str, got: &Value) -> Error {
    Error::setting("Point", "value", wanted, format!("{got} for {name}"))
}

/// Names and values: `lr = 0.1, rule = sgd`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name} = {value}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
