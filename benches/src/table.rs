//! Results as Markdown: one table for each test, the ratio of every round in it.

use crate::results::{EngineName, Measurement, Results, Round, Test, median, tests_of};
use std::fmt::Write;

/// The whole page.
pub fn markdown(results: &Results) -> String {
    let measurements = results.latest();
    let mut page = head(results);
    for test in tests_of(&measurements) {
        let rows: Vec<&Measurement> = measurements
            .iter()
            .copied()
            .filter(|m| m.test == test)
            .collect();
        page += &speeds(test, &rows);
        match test {
            Test::Decode(_) => page += &bandwidth(&rows),
            Test::Prefill(_) | Test::Batch(..) | Test::Start => page += &memory(&rows),
            Test::Busy(_) => page += &busy(&rows),
        }
    }
    page
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "# {}, {} instructions, {} threads\n\nWritten by `cargo xtask bench --peers`; \
         [benches/README.md](../README.md) says how to read it. Engines took turns in every round; \
         ratios are within a round.\n\n",
        machine.cpu,
        results.isa.as_str(),
        results.threads,
    );
    text += "| | |\n| --- | --- |\n";
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    row("CPU", &format!("{}, {} cores", machine.cpu, machine.cores));
    row("features", &machine.features.join(" "));
    row("caches of a core", &machine.caches.join(", "));
    row(
        "memory",
        &format!("{:.1} GB", machine.memory_bytes as f64 / 1e9),
    );
    row("system", &machine.os);
    row("compiler", &machine.rustc);
    if let Some(run) = results.runs.last() {
        row(
            "last measured",
            &format!("{}, commit {}", run.started, run.commit),
        );
        for (engine, version) in &run.engines {
            row(engine.as_str(), version);
        }
    }
    text
}

/// The medians of every engine, and how many times as fast as each peer Ondol was.
fn speeds(test: Test, rows: &[&Measurement]) -> String {
    let engines = engines(rows);
    let pairs = pairs(&engines);
    let unit = match test {
        Test::Start => "seconds",
        _ => "tokens/s",
    };
    let medians = engines
        .iter()
        .map(|engine| format!("{}, {unit}", engine.as_str()));
    let ratios = pairs
        .iter()
        .map(|(own, peer)| format!("{} : {}", own.as_str(), peer.as_str()));
    let body = rows.iter().map(|row| {
        let value = |&engine: &EngineName| {
            let values = row.each_round(|round| Some(round.samples.get(&engine)?.value));
            cell(median(&values).map(figure))
        };
        let ratio = |&(own, peer): &(EngineName, EngineName)| {
            list(&row.each_round(|round| round.ratio(test, own, peer)), |x| {
                format!("{x:.2}")
            })
        };
        engines
            .iter()
            .map(value)
            .chain(pairs.iter().map(ratio))
            .collect()
    });
    table(
        &title(test),
        medians.chain(ratios).collect(),
        rows,
        body.collect(),
    )
}

fn title(test: Test) -> String {
    match test {
        Test::Prefill(tokens) => format!("Prefill of {tokens} tokens"),
        Test::Decode(tokens) => format!("Decoding of {tokens} tokens"),
        Test::Batch(tokens, sequences) => {
            format!("Decoding of {tokens} tokens of {sequences} sequences together")
        }
        Test::Start => "Process start to first token and exit, page cache warm".to_owned(),
        Test::Busy(tokens) => {
            format!("Decoding of {tokens} tokens while a spinning thread has one core")
        }
    }
}

/// Bytes touched per token x tokens/s over a plain read loop in the same round.
fn bandwidth(rows: &[&Measurement]) -> String {
    let engines = engines(rows);
    let names = engines
        .iter()
        .map(|engine| format!("{}, %", engine.as_str()));
    let header = ["MB per token", "read loop, GB/s"].map(str::to_owned);
    let body = rows.iter().map(|row| {
        let read = row.each_round(|round| Some(round.read_bytes_per_s? / 1e9));
        let share = |&engine: &EngineName| {
            percent(row, |round| round.share_of_bandwidth(&row.facts, engine))
        };
        let first = [
            megabytes(row.facts.touched_bytes()),
            list(&read, |x| format!("{x:.1}")),
        ];
        first.into_iter().chain(engines.iter().map(share)).collect()
    });
    table(
        "Share of memory bandwidth",
        header.into_iter().chain(names).collect(),
        rows,
        body.collect(),
    )
}

/// Memory beyond mapped files, beside the figure that Ondol announced, and all resident memory.
fn memory(rows: &[&Measurement]) -> String {
    let engines = engines(rows);
    let beyond = engines
        .iter()
        .map(|e| format!("{}, beyond files", e.as_str()));
    let resident = engines.iter().map(|e| format!("{}, all", e.as_str()));
    let header = ["file".to_owned(), "Ondol said".to_owned()];
    let body = rows.iter().map(|row| {
        let peak = |of: &dyn Fn(&Round) -> Option<u64>| {
            cell(row.rounds.iter().filter_map(of).max().map(megabytes))
        };
        let beyond = |engine: &EngineName| peak(&|round| round.samples.get(engine)?.peak_anonymous);
        let resident =
            |engine: &EngineName| peak(&|round| Some(round.samples.get(engine)?.peak_rss));
        let said = [
            megabytes(row.facts.file_bytes),
            megabytes(row.facts.memory_bytes),
        ];
        said.into_iter()
            .chain(engines.iter().map(beyond))
            .chain(engines.iter().map(resident))
            .collect()
    });
    let header = header.into_iter().chain(beyond).chain(resident).collect();
    table("Peak memory meanwhile, MB", header, rows, body.collect())
}

fn busy(rows: &[&Measurement]) -> String {
    let engines = engines(rows);
    let header = engines
        .iter()
        .map(|engine| format!("{}, %", engine.as_str()));
    let body = rows.iter().map(|row| {
        let kept = |&engine: &EngineName| percent(row, |round| round.kept(engine));
        engines.iter().map(kept).collect()
    });
    table(
        "Share of the quiet speed that is kept",
        header.collect(),
        rows,
        body.collect(),
    )
}

/// The engines that have a figure in some row.
fn engines(rows: &[&Measurement]) -> Vec<EngineName> {
    let seen = |engine: &EngineName| {
        let mut rounds = rows.iter().flat_map(|row| &row.rounds);
        rounds.any(|round| round.samples.contains_key(engine))
    };
    let all = EngineName::OURS.into_iter().chain(EngineName::PEERS);
    all.filter(seen).collect()
}

/// Each of Ondol's engines with each peer.
fn pairs(engines: &[EngineName]) -> Vec<(EngineName, EngineName)> {
    let ours = engines
        .iter()
        .filter(|engine| EngineName::OURS.contains(engine));
    let peers = engines
        .iter()
        .filter(|engine| EngineName::PEERS.contains(engine));
    ours.flat_map(|&own| peers.clone().map(move |&peer| (own, peer)))
        .collect()
}

/// A section: a row for each file.
fn table(
    title: &str,
    header: Vec<String>,
    rows: &[&Measurement],
    body: Vec<Vec<String>>,
) -> String {
    let mut text = format!("\n## {title}\n\n| model | {} |\n", header.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(header.len()));
    for (row, cells) in rows.iter().zip(body) {
        let _ = writeln!(
            text,
            "| {} {} | {} |",
            row.model,
            row.format,
            cells.join(" | ")
        );
    }
    text
}

fn percent(row: &Measurement, share: impl Fn(&Round) -> Option<f64>) -> String {
    list(&row.each_round(share), |x| format!("{:.0}", 100.0 * x))
}

fn list(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let texts: Vec<String> = values.iter().map(|&value| show(value)).collect();
    cell((!texts.is_empty()).then(|| texts.join(", ")))
}

/// Three digits or more.
fn figure(value: f64) -> String {
    match value {
        _ if value < 10.0 => format!("{value:.3}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn cell(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::sample;

    #[test]
    fn decoding_shows_ratios_of_each_round_and_shares_of_bandwidth() {
        let page = markdown(&sample(Test::Decode(128)));
        let row = "| smollm2 Q4_0 | 275 | 250 | 100 | 3.30, 2.20 | 3.00, 2.00 |";
        assert!(page.contains(row), "{page}");
        assert!(
            page.contains("| Ondol, packed : llama.cpp | Ondol : llama.cpp |"),
            "{page}"
        );
        assert!(
            page.contains("| smollm2 Q4_0 | 50.0 | 20.0, 20.0 | 82, 55 |"),
            "{page}"
        );
        assert!(!page.contains("candle"), "{page}");
    }

    #[test]
    fn a_start_is_faster_with_fewer_seconds_and_shows_memory() {
        let page = markdown(&sample(Test::Start));
        assert!(page.contains("0.30, 0.45 | 0.33, 0.50 |"), "{page}");
        assert!(
            page.contains("| smollm2 Q4_0 | 92.0 | 38.0 | 40.0 | 40.0 | 40.0 | 150.0 |"),
            "{page}"
        );
    }

    #[test]
    fn a_busy_machine_shows_the_share_that_is_kept() {
        let page = markdown(&sample(Test::Busy(64)));
        assert!(
            page.contains("| smollm2 Q4_0 | 50, 50 | 50, 50 | 50, 50 |"),
            "{page}"
        );
    }

    #[test]
    fn every_row_of_a_table_has_as_many_cells_as_its_header() {
        let mut results = sample(Test::Decode(128));
        results.runs[0].measurements[0].rounds[1]
            .samples
            .remove(&EngineName::LlamaCpp);
        let mut poor = results.runs[0].measurements[0].clone();
        poor.format = "F16".into();
        poor.rounds.clear();
        results.runs[0].measurements.push(poor);
        let page = markdown(&results);
        for section in page.split("\n## ").skip(1) {
            let bars: Vec<usize> = section
                .lines()
                .map(|line| line.matches('|').count())
                .collect();
            let rows: Vec<usize> = bars.into_iter().filter(|&n| n > 0).collect();
            assert_eq!(rows.len(), 4, "{section}");
            assert!(rows.iter().all(|n| *n == rows[0]), "{section}");
        }
    }
}
