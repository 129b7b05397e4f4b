//! A curve as SVG. Colours come from the page's style sheet.

use super::text::{Pair, both, digits_of, escape, number, pair, rounded};
use crate::report::Series;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 28.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = HEIGHT - 46.0;

/// An axis: the values at its ends, and the value and label of each tick.
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Where a value lies between the ends, from 0 to 1. A value below the low end, such as the
    /// logarithm of zero, is at 0.
    fn share(&self, value: f64) -> f64 {
        (value.max(self.low) - self.low) / (self.high - self.low)
    }
}

/// The area of the drawing: converts values on the axes to coordinates of the SVG.
struct Field {
    across: Axis,
    up: Axis,
}

impl Field {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.share(value) * (RIGHT - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - self.up.share(value) * (BOTTOM - TOP)
    }
}

/// A point in values on the axes, and the text that it shows.
struct Point {
    x: f64,
    y: f64,
    says: String,
}

/// A series with its title; no other element of the page has the same `id`.
pub fn figure(series: &Series, id: &str) -> String {
    let points = points(series);
    let drawn = points.iter().flatten().count();
    let missing = series.x.len().max(series.y.len()) - drawn;
    let drawing = match drawn {
        0 => String::new(),
        _ => drawing(series, &points, id),
    };
    format!(
        "<figure>\n<figcaption id=\"{id}\">{}</figcaption>\n{drawing}{}</figure>\n",
        both(pair(&series.title)),
        remarks(&points, missing)
    )
}

/// Notes on values that the drawing does not show.
fn remarks(points: &[Option<Point>], missing: usize) -> String {
    let mut remarks = Vec::new();
    if points.iter().all(Option::is_none) {
        remarks.push(both(("No values to draw.", "그릴 값이 없습니다.")));
    }
    if points.iter().flatten().any(|point| !point.y.is_finite()) {
        let zero = "○ 0: below a logarithmic axis, drawn at its edge.";
        let ko = "○ 0: 로그 축에 나타낼 수 없어 아래 경계에 표시했습니다.";
        remarks.push(both((zero, ko)));
    }
    if missing > 0 {
        let en = format!("Values that cannot be drawn: {missing}.");
        let ko = format!("그릴 수 없는 값: {missing}개.");
        remarks.push(both((&en, &ko)));
    }
    let remark = |remark| format!("<p class=\"note\">{remark}</p>\n");
    remarks.into_iter().map(remark).collect()
}

/// The points of a series; `None` for a value that can't be drawn, where the line is broken.
fn points(series: &Series) -> Vec<Option<Point>> {
    let pairs = series.x.iter().zip(&series.y);
    let point = |(&x, &y): (&f64, &f64)| {
        Some(Point {
            x: drawable(x)?,
            y: height(series, y)?,
            says: format!("{}: {}", number(x), number(y)),
        })
    };
    pairs.map(point).collect()
}

/// The value, if differences and tenths of such values neither overflow nor become zero.
fn drawable(value: f64) -> Option<f64> {
    (value == 0.0 || (1e-280..1e280).contains(&value.abs())).then_some(value)
}

/// The value on the vertical axis, which may be logarithmic: minus infinity for zero, `None` for
/// a negative number.
fn height(series: &Series, y: f64) -> Option<f64> {
    let y = drawable(y)?;
    let y = if series.logarithmic { y.log10() } else { y };
    (!y.is_nan()).then_some(y)
}

fn drawing(series: &Series, points: &[Option<Point>], id: &str) -> String {
    let limit = series.limit.and_then(|limit| height(series, limit));
    let xs: Vec<f64> = points.iter().flatten().map(|point| point.x).collect();
    let ys = points.iter().flatten().map(|point| point.y).chain(limit);
    let ys: Vec<f64> = ys.filter(|y| y.is_finite()).collect();
    let up = match series.logarithmic {
        true => logarithmic(&ys),
        false => linear(&ys),
    };
    let across = linear(&xs);
    let field = Field { across, up };
    let limit = limit.filter(|limit| limit.is_finite());
    let limit = limit.map(|limit| limit_line(field.y(limit), series.limit));
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}\">\n\
         {}{}{}{}{}</svg>\n",
        ticks(&field),
        label(
            (LEFT + RIGHT) / 2.0,
            HEIGHT - 8.0,
            "middle",
            pair(&series.x_label)
        ),
        label(8.0, 18.0, "start", pair(&series.y_label)),
        line(points, &field),
        limit.unwrap_or_default(),
    )
}

/// The points and the line between them, broken where one is missing.
fn line(points: &[Option<Point>], field: &Field) -> String {
    let mut svg = String::new();
    for run in points.split(Option::is_none) {
        let places = run.iter().flatten();
        let places = places.map(|point| format!("{:.1},{:.1}", field.x(point.x), field.y(point.y)));
        let places: Vec<String> = places.collect();
        if places.len() > 1 {
            svg += &format!(
                "<polyline class=\"line\" points=\"{}\"/>\n",
                places.join(" ")
            );
        }
    }
    for point in points.iter().flatten() {
        let (x, y) = (field.x(point.x), field.y(point.y));
        let class = if point.y.is_finite() { "point" } else { "zero" };
        svg += &format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>\n",
            escape(&point.says)
        );
    }
    svg
}

fn limit_line(y: f64, limit: Option<f64>) -> String {
    let limit = limit.map(number).unwrap_or_default();
    let (en, ko) = (format!("limit {limit}"), format!("기준 {limit}"));
    format!(
        "<line class=\"limit\" x1=\"{LEFT:.1}\" y1=\"{y:.1}\" x2=\"{RIGHT:.1}\" y2=\"{y:.1}\"/>\n{}",
        label(RIGHT, y - 5.0, "end", (&en, &ko))
    )
}

/// Numbers along both axes, and lines across.
fn ticks(field: &Field) -> String {
    let mut svg = String::new();
    for (value, number) in &field.across.ticks {
        let (x, below) = (field.x(*value), BOTTOM + 18.0);
        svg += &format!(
            "<text x=\"{x:.1}\" y=\"{below:.1}\" text-anchor=\"middle\">{number}</text>\n"
        );
    }
    for (value, number) in &field.up.ticks {
        let (y, left) = (field.y(*value), LEFT - 6.0);
        svg += &format!(
            "<line class=\"grid\" x1=\"{LEFT:.1}\" y1=\"{y:.1}\" x2=\"{RIGHT:.1}\" y2=\"{y:.1}\"/>\n\
             <text x=\"{left:.1}\" y=\"{:.1}\" text-anchor=\"end\">{number}</text>\n",
            y + 4.0
        );
    }
    svg
}

/// A text in both languages at the same place.
fn label(x: f64, y: f64, anchor: &str, (en, ko): Pair) -> String {
    let text = |lang, text| {
        let text = escape(text);
        format!(
            "<text lang=\"{lang}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
        )
    };
    text("ko", ko) + &text("en", en)
}

/// An axis with about five steps of 1, 2 or 5 times a power of ten; of whole ones
/// where all values are whole.
fn linear(values: &[f64]) -> Axis {
    let (low, high) = range(values);
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|nice| rough <= nice * power);
    let mut step = nice.unwrap_or(10.0) * power;
    if values.iter().all(|value| value.fract() == 0.0) {
        step = step.max(1.0);
    }
    let (first, last) = ((low / step).floor(), (high / step).ceil());
    let ticks = (first as i64..=last as i64).map(|tick| tick as f64 * step);
    let ticks: Vec<f64> = ticks.collect();
    let digits = digits_of(&ticks);
    let named = ticks.into_iter().map(|tick| (tick, rounded(tick, digits)));
    Axis {
        low: first * step,
        high: last * step,
        ticks: named.collect(),
    }
}

/// An axis from a power of ten to another, over exponents.
fn logarithmic(exponents: &[f64]) -> Axis {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for exponent in exponents {
        (low, high) = (low.min(exponent.floor()), high.max(exponent.ceil()));
    }
    if exponents.is_empty() {
        (low, high) = (0.0, 0.0);
    }
    low = low.min(high - 1.0);
    let step = ((high - low) / 6.0).ceil();
    let steps = ((high - low) / step).ceil();
    let exponents = (0..=steps as i32).map(|tick| low + f64::from(tick) * step);
    Axis {
        low,
        high: low + steps * step,
        ticks: exponents
            .map(|exponent| (exponent, number(10f64.powf(exponent))))
            .collect(),
    }
}

/// From the smallest to the largest value, and wider if these are nearly equal.
fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-9 {
        return (low, high);
    }
    let margin = if size == 0.0 { 1.0 } else { size / 10.0 };
    (low - margin, high + margin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Text;

    fn series(x: &[f64], y: &[f64], limit: Option<f64>, logarithmic: bool) -> Series {
        Series {
            title: Text::new("Error", "오차"),
            x_label: Text::new("layer", "층"),
            y_label: Text::new("NMSE", "NMSE"),
            x: x.to_vec(),
            y: y.to_vec(),
            limit,
            logarithmic,
        }
    }

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(ticks(&linear(&[0.0, 27.0])), ["0", "10", "20", "30"]);
        assert_eq!(ticks(&linear(&[3.0])), ["2", "3", "4"]);
        assert_eq!(
            ticks(&linear(&[-0.1, 0.32])),
            ["-0.1", "0", "0.1", "0.2", "0.3", "0.4"]
        );
        assert_eq!(
            ticks(&linear(&[1000.1, 1000.13])),
            ["1000.1", "1000.11", "1000.12", "1000.13"]
        );
        let as_good_as_equal = linear(&[1.0, 1.0f64.next_up()]);
        assert!(ticks(&as_good_as_equal).iter().all(|tick| tick.len() < 5));
        let exponents = [1.2e-7f64.log10(), 1e-3f64.log10()];
        assert_eq!(
            ticks(&logarithmic(&exponents)),
            ["1e-7", "1e-6", "1e-5", "1e-4", "0.001"]
        );
        assert_eq!(ticks(&logarithmic(&[-3.0])), ["1e-4", "0.001"]);
        assert_eq!(ticks(&logarithmic(&[-30.0, 0.0])).len(), 7);
    }

    #[test]
    fn the_line_breaks_where_a_value_is_missing() {
        let y = [1.0, 2.0, f64::NAN, 3.0, 4.0, f64::INFINITY, 5.0];
        let figure = figure(
            &series(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &y, None, false),
            "p",
        );
        assert_eq!(figure.matches("<polyline").count(), 2, "{figure}");
        assert_eq!(figure.matches("<circle").count(), 5);
        assert!(figure.contains("cannot be drawn: 2."), "{figure}");
        assert!(!figure.contains("class=\"limit\""));
    }

    #[test]
    fn a_larger_value_is_higher_and_the_limit_between() {
        for logarithmic in [false, true] {
            let series = series(&[0.0, 1.0], &[0.01, 1.0], Some(0.1), logarithmic);
            let figure = figure(&series, "p");
            let points = figure.split(" cy=\"").skip(1);
            let points = points.filter_map(|point| point.split('"').next()?.parse().ok());
            let points: Vec<f64> = points.collect();
            let limit = figure.split("class=\"limit\"").nth(1).expect("a limit");
            let limit = limit
                .split("y1=\"")
                .nth(1)
                .and_then(|y| y.split('"').next());
            let limit: f64 = limit.and_then(|y| y.parse().ok()).expect("a number");
            assert!(points[0] > limit && limit > points[1], "{figure}");
        }
    }

    #[test]
    fn zeros_of_a_logarithmic_plot_are_told() {
        let figure = figure(&series(&[0.0, 1.0], &[0.0, 1e-6], None, true), "p");
        assert!(figure.contains("class=\"zero\"") && figure.contains("○ 0"));
        assert!(figure.contains(&format!("cy=\"{BOTTOM:.1}\"")), "{figure}");
    }

    #[test]
    fn nothing_breaks_a_drawing() {
        let values = [
            &[][..],
            &[0.0],
            &[1.0],
            &[-1.0, -1.0],
            &[7.0; 4],
            &[0.0; 3],
            &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY],
            &[f64::MAX, f64::MIN],
            &[1e279, -1e279],
            &[1e279, 1e-279],
            &[f64::MIN_POSITIVE, 5e-324],
            &[1e-279, 1.1e-279],
            &[1e16, 1e16 + 2.0],
            &[1.0, 1.0f64.next_up()],
        ];
        let limits = [
            None,
            Some(0.0),
            Some(-1.0),
            Some(1e-3),
            Some(f64::NAN),
            Some(f64::MAX),
        ];
        for (x, y) in values.into_iter().flat_map(|x| values.map(|y| (x, y))) {
            for limit in limits {
                for logarithmic in [false, true] {
                    let figure = figure(&series(x, y, limit, logarithmic), "p");
                    for bad in ["NaN", "inf", "=\"—"] {
                        assert!(!figure.contains(bad), "{x:?} {y:?} {limit:?}: {figure}");
                    }
                    let circles = figure.matches("<circle").count();
                    assert_eq!(circles > 0, figure.contains("<svg"), "{figure}");
                    assert!(
                        figure.matches("<text").count() < 40,
                        "{x:?} {y:?}: {figure}"
                    );
                }
            }
        }
    }
}
