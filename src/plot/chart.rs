//! Pictures of points and lines, as SVG text.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::{Error, Result};

/// One coordinate system.
#[derive(Debug, Default)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// What an axis shows.
#[derive(Debug, Default, Clone)]
pub(super) struct Axis {
    pub(super) label: String,
    /// Whether it shows orders of magnitude.
    pub(super) log: bool,
    /// Names of the values 0, 1, 2, … instead of numbers.
    pub(super) names: Vec<String>,
}

/// Points of one color.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: Option<String>,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) color: usize,
    pub(super) mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line { width: u32 },
    Dots { radius: i32 },
}

/// Tells six apart, in color blindness too (Okabe & Ito 2008).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(160, 160, 160),
];

/// Width and height of a panel, in pixels.
const PANEL: (u32, u32) = (520, 360);

/// Draws panels in rows of at most `columns`.
pub(super) fn draw(panels: &[Panel], columns: usize) -> Result<String> {
    let columns = panels.len().min(columns).max(1);
    let rows = panels.len().div_ceil(columns);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let mut svg = String::new();
    let drawn = (|| {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE)?;
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(area, panel)?;
        }
        root.present()
    })();
    drawn.map_err(|error| Error::Data(format!("cannot draw: {error}")))?;
    Ok(svg)
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Drawn {
    let points = || panel.series.iter().flat_map(|series| panel.visible(series));
    let (x, y) = (range(points().map(|(x, _)| x)), range(points().map(|(_, y)| y)));
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .caption(&panel.title, ("sans-serif", 18))
        .x_label_area_size(40)
        .y_label_area_size(62)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(228, 228, 228))
        .x_labels(panel.x.names.len().max(6))
        .y_labels(6)
        .x_desc(&panel.x.label)
        .y_desc(&panel.y.label)
        .x_label_formatter(&|&value| panel.x.text(value))
        .y_label_formatter(&|&value| panel.y.text(value))
        .draw()?;
    for series in &panel.series {
        let color = COLORS[series.color % COLORS.len()];
        let points = panel.visible(series);
        let drawn = match series.mark {
            Mark::Line { width } => {
                chart.draw_series(LineSeries::new(points, color.stroke_width(width)))?
            }
            Mark::Dots { radius } => chart.draw_series(
                points.map(|point| Circle::new(point, radius, color.mix(0.75).filled())),
            )?,
        };
        if let Some(name) = &series.name {
            drawn.label(name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], color.stroke_width(3))
            });
        }
    }
    if panel.series.iter().any(|series| series.name.is_some()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 13))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(205, 205, 205))
            .draw()?;
    }
    Ok(())
}

impl Panel {
    /// The points that can be drawn, as coordinates.
    fn visible<'s>(&'s self, series: &'s Series) -> impl Iterator<Item = (f64, f64)> + 's {
        let place = |value: f64, axis: &Axis| if axis.log { value.log10() } else { value };
        let placed =
            series.points.iter().map(move |&(x, y)| (place(x, &self.x), place(y, &self.y)));
        placed.filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// Whether there is anything to see.
    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| self.visible(series).next().is_none())
    }
}

impl Axis {
    pub(super) fn new(label: &str) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    pub(super) fn log(label: &str) -> Self {
        Self { label: label.into(), log: true, names: Vec::new() }
    }

    fn text(&self, place: f64) -> String {
        if !self.names.is_empty() {
            let at = place.round();
            let named = (place - at).abs() < 0.01 && at >= 0.0;
            return if named { self.names.get(at as usize).cloned() } else { None }
                .unwrap_or_default();
        }
        let value = if self.log { 10f64.powf(place) } else { place };
        if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) {
            return format!("{value:.1e}");
        }
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    }
}

/// From the smallest to the largest, and a little more.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return 0.0..1.0;
    }
    let margin = if high > low { 0.04 * (high - low) } else { low.abs().max(1.0) * 0.1 };
    low - margin..high + margin
}
