//! Results as a plot in SVG: how many times as fast as each peer Ondol was, a dot for every
//! round, on a logarithmic scale. Text is grey on a transparent background, so it can be
//! read on white and on black.

use crate::results::{EngineName, Isa, Measurement, Results, Round, Test, tests_of};
use std::fmt::Write;

const GREY: &str = "#808080";
/// The colours of llama.cpp and of candle, which colour-blind people can distinguish too.
const COLOURS: [&str; 2] = ["#e07b00", "#3a8fd0"];

const LEFT: f64 = 160.0;
const PANEL: f64 = 190.0;
const GAP: f64 = 36.0;
const TOP: f64 = 78.0;
const ROW: f64 = 18.0;

/// The ends of the scale; a ratio beyond an end is drawn at the end.
const SCALE: (f64, f64) = (0.5, 16.0);
const TICKS: [f64; 6] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// A column of the plot: a test, and Ondol's engines, of which the first that has a figure is
/// shown.
struct Panel {
    test: Test,
    own: &'static [EngineName],
    title: String,
}

/// The plot.
pub fn svg(results: &Results) -> String {
    let measurements = results.latest();
    let panels: Vec<Panel> = tests_of(&measurements)
        .into_iter()
        .flat_map(panels_of)
        .collect();
    let files = files(&measurements);
    let width = LEFT + panels.len() as f64 * (PANEL + GAP);
    let bottom = TOP + files.len() as f64 * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"{GREY}\">\n",
        bottom + 26.0
    );
    let isa = match results.isa {
        Isa::Native => "all instructions",
        Isa::Avx2 => "AVX2",
    };
    let title = format!(
        "Ondol: times as fast as others on the same file ({}, {isa}, {} threads)",
        results.machine.cpu, results.threads
    );
    text(&mut svg, (4.0, 16.0), "start", &title);
    legend(&mut svg, &measurements);
    for (row, (model, format)) in files.iter().enumerate() {
        text(
            &mut svg,
            (LEFT - 12.0, y(row) + 4.0),
            "end",
            &format!("{model} {format}"),
        );
    }
    for (column, panel) in panels.iter().enumerate() {
        let left = LEFT + column as f64 * (PANEL + GAP);
        axis(&mut svg, left, bottom, &panel.title);
        for (row, file) in files.iter().enumerate() {
            let found = measurements
                .iter()
                .find(|m| m.test == panel.test && file_of(m) == *file);
            if let Some(found) = found {
                dots(&mut svg, left, y(row), found, panel.own);
            }
        }
    }
    svg + "</svg>\n"
}

/// The columns of a test. Decode has two: the packed copy, and the file as it is.
/// A start is that of the packed copy if there is one, as in `ondol run`. A batch and the busy
/// machine have no column; the table has their figures.
fn panels_of(test: Test) -> Vec<Panel> {
    let panel = |own, title| Panel { test, own, title };
    let [packed, as_it_is] = [&EngineName::OURS[..1], &EngineName::OURS[1..]];
    match test {
        Test::Prefill(tokens) => vec![panel(as_it_is, format!("prefill {tokens}"))],
        Test::Decode(tokens) => vec![
            panel(packed, format!("decode {tokens}, packed")),
            panel(as_it_is, format!("decode {tokens}, file as it is")),
        ],
        Test::Start => vec![panel(&EngineName::OURS, "start to first token".into())],
        Test::Batch(..) | Test::Busy(_) => Vec::new(),
    }
}

fn file_of(measurement: &Measurement) -> (&str, &str) {
    (&measurement.model, &measurement.format)
}

/// The files, in the order of their first measurement.
fn files<'m>(measurements: &[&'m Measurement]) -> Vec<(&'m str, &'m str)> {
    let mut files = Vec::new();
    for measurement in measurements {
        let file = file_of(measurement);
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

fn y(row: usize) -> f64 {
    TOP + (row as f64 + 0.5) * ROW
}

/// Pixels from a panel's left edge.
fn x(ratio: f64) -> f64 {
    let (low, high) = SCALE;
    PANEL * (ratio.clamp(low, high) / low).log2() / (high / low).log2()
}

fn axis(svg: &mut String, left: f64, bottom: f64, title: &str) {
    text(svg, (left + PANEL / 2.0, TOP - 14.0), "middle", title);
    for tick in TICKS {
        let at = left + x(tick);
        let (stroke, opacity) = if tick == 1.0 { (1.5, 1.0) } else { (1.0, 0.35) };
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" \
             stroke=\"{GREY}\" stroke-width=\"{stroke}\" stroke-opacity=\"{opacity}\"/>",
            TOP - 6.0
        );
        text(svg, (at, bottom + 16.0), "middle", &format!("{tick}x"));
    }
}

fn dots(svg: &mut String, left: f64, y: f64, measurement: &Measurement, own: &[EngineName]) {
    for (peer, colour) in EngineName::PEERS.into_iter().zip(COLOURS) {
        let ratio = |round: &Round| {
            let mut ratios = own
                .iter()
                .map(|&own| round.ratio(measurement.test, own, peer));
            ratios.find_map(|ratio| ratio)
        };
        for ratio in measurement.each_round(ratio) {
            let at = left + x(ratio);
            let _ = writeln!(
                svg,
                "<circle cx=\"{at:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" fill-opacity=\"0.75\">\
                 <title>{ratio:.2}x {}</title></circle>",
                peer.as_str()
            );
        }
    }
}

/// The peers that have figures, with their colours.
fn legend(svg: &mut String, measurements: &[&Measurement]) {
    let mut at = 10.0;
    for (peer, colour) in EngineName::PEERS.into_iter().zip(COLOURS) {
        let mut rounds = measurements.iter().flat_map(|m| &m.rounds);
        if rounds.any(|round| round.samples.contains_key(&peer)) {
            let _ = writeln!(
                svg,
                "<circle cx=\"{at}\" cy=\"34\" r=\"4\" fill=\"{colour}\"/>"
            );
            text(
                svg,
                (at + 10.0, 38.0),
                "start",
                &format!("against {}", peer.as_str()),
            );
            at += 140.0;
        }
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{escaped}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn every_round_of_every_panel_is_a_dot_at_its_ratio() {
        let plot = svg(&sample(Test::Decode(128)));
        // Two panels of two rounds, and the legend's.
        assert_eq!(plot.matches("<circle").count(), 5, "{plot}");
        for ratio in [3.3, 2.2] {
            let dot = format!("cx=\"{:.1}\"", LEFT + x(ratio));
            assert!(plot.contains(&dot), "{dot} in {plot}");
        }
        assert!(plot.contains("smollm2 Q4_0") && plot.contains("decode 128, packed"));
    }

    #[test]
    fn names_cannot_break_the_markup() {
        let plot = svg(&sample(Test::Start));
        assert!(plot.contains("A &lt;CPU> &amp; more"), "{plot}");
    }

    #[test]
    fn the_scale_doubles_by_equal_steps_and_ends_at_its_ends() {
        let step = x(2.0) - x(1.0);
        assert!((x(4.0) - x(2.0) - step).abs() < 1e-9 && step > 20.0);
        assert_eq!((x(0.1), x(100.0)), (0.0, PANEL));
    }
}
