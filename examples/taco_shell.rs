//! Draws how update rules move: in a long, narrow valley (the course's "taco shell") and beside a saddle point.
//!
//! `cargo run --release --example taco_shell -- taco_shell.svg`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use layerwise::prelude::*;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// Draw the paths of update rules in a narrow valley and at a saddle point.
#[derive(Debug, Parser)]
struct Options {
    /// The file to write
    #[arg(default_value = "taco_shell.svg")]
    file: PathBuf,
    /// Steps of each path
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    steps: u64,
}

type Failure = Box<dyn std::error::Error>;
type Point = (f64, f64);

/// A function of two variables by its gradient, with what is needed to show it.
struct Surface {
    title: &'static str,
    gradient: fn(Point) -> Point,
    start: Point,
    /// Range of x and of y.
    frame: [Point; 2],
    /// Lines of equal height.
    contours: Vec<Vec<Point>>,
    /// A rate for each of [`rules`]: each is shown at one that suits it.
    rates: [f64; 6],
}

/// The rules that the course compares.
fn rules() -> [(&'static str, Box<dyn Optimizer<f64>>, RGBColor); 6] {
    [
        ("SGD", Box::new(Sgd::new()), RGBColor(214, 39, 40)),
        ("momentum", Box::new(Sgd::new().momentum(0.9)), RGBColor(31, 119, 180)),
        ("Nesterov", Box::new(Sgd::new().momentum(0.9).nesterov(true)), RGBColor(148, 103, 189)),
        ("AdaGrad", Box::new(AdaGrad::new()), RGBColor(44, 160, 44)),
        ("RMSProp", Box::new(RmsProp::new().alpha(0.9)), RGBColor(255, 127, 14)),
        ("Adam", Box::new(Adam::new()), RGBColor(23, 23, 23)),
    ]
}

/// `½ (x² + 30 y²)`: its condition number is 30.
fn valley() -> Surface {
    let ellipse = |height: f64| {
        let (a, b) = ((2.0 * height).sqrt(), (2.0 * height / 30.0).sqrt());
        let angles = (0..=180).map(|i| (2.0 * f64::from(i)).to_radians());
        angles.map(|t| (a * t.cos(), b * t.sin())).collect()
    };
    Surface {
        title: "narrow valley: (x² + 30 y²) / 2",
        gradient: |(x, y)| (x, 30.0 * y),
        start: (-9.0, 1.6),
        frame: [(-10.0, 4.0), (-2.5, 2.5)],
        contours: [0.5, 2.0, 6.0, 14.0, 28.0, 50.0].map(ellipse).into(),
        rates: [0.063, 0.01, 0.01, 1.0, 0.3, 0.6],
    }
}

/// `½ (x² − y²)`: at 0 it is a minimum along x and a maximum along y.
fn saddle() -> Surface {
    // Hyperbolas: x² − y² = ±2 · height, a branch on each side.
    let hyperbola = |height: f64, side: f64| {
        let along = (-30..=30).map(|i| f64::from(i) / 20.0);
        along.map(move |v| (side * (2.0 * height + v * v).sqrt(), v))
    };
    let mut contours = Vec::new();
    for height in [0.0, 0.05, 0.2, 0.45, 0.8] {
        for side in [-1.0, 1.0] {
            contours.push(hyperbola(height, side).collect());
            contours.push(hyperbola(height, side).map(|(x, y)| (y, x)).collect());
        }
    }
    Surface {
        title: "saddle point: (x² − y²) / 2",
        gradient: |(x, y)| (x, -y),
        start: (-1.3, 1e-3),
        frame: [(-1.5, 1.5), (-1.0, 1.0)],
        contours,
        rates: [0.08, 0.04, 0.04, 0.15, 0.03, 0.05],
    }
}

/// The points that a rule passes, to the edge of the frame.
fn path(surface: &Surface, rule: &dyn Optimizer<f64>, lr: f64, steps: u64) -> Vec<Point> {
    let mut point = surface.start;
    let mut state = vec![[0.0; 2]; rule.state_names().len()];
    let mut points = vec![point];
    let [x_range, y_range] = surface.frame;
    let inside = |v: f64, (low, high): Point| (low..=high).contains(&v);
    for step in 1..=steps {
        let (gx, gy) = (surface.gradient)(point);
        let mut value = [point.0, point.1];
        let mut arrays: Vec<&mut [f64]> = state.iter_mut().map(|array| &mut array[..]).collect();
        rule.update(&StepInfo::new(step, lr), &mut value, &[gx, gy], &mut arrays);
        point = (value[0], value[1]);
        if !inside(point.0, x_range) || !inside(point.1, y_range) {
            break;
        }
        points.push(point);
    }
    points
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

fn draw(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    surface: &Surface,
    steps: u64,
) -> Result<(), Failure> {
    let [(left, right), (bottom, top)] = surface.frame;
    let mut chart: Chart<'_, '_> = ChartBuilder::on(area)
        .margin(12)
        .caption(surface.title, ("sans-serif", 20))
        .x_label_area_size(28)
        .y_label_area_size(40)
        .build_cartesian_2d(left..right, bottom..top)?;
    chart.configure_mesh().disable_mesh().draw()?;
    let in_frame = |&(x, y): &Point| (left..=right).contains(&x) && (bottom..=top).contains(&y);
    for contour in &surface.contours {
        for run in contour.split(|point| !in_frame(point)) {
            chart.draw_series(LineSeries::new(run.iter().copied(), &RGBColor(205, 205, 205)))?;
        }
    }
    for ((name, rule, color), lr) in rules().into_iter().zip(surface.rates) {
        let points = path(surface, &*rule, lr, steps);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 2, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 14))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(205, 205, 205))
        .draw()?;
    Ok(())
}

fn run(options: &Options) -> Result<(), Failure> {
    let root = SVGBackend::new(&options.file, (1200, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, surface) in root.split_evenly((1, 2)).iter().zip([valley(), saddle()]) {
        draw(area, &surface, options.steps)?;
    }
    root.present()?;
    println!("wrote {}", options.file.display());
    Ok(())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
