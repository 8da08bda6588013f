//! How the benchmarks of `core/` measure: both ways of doing something in turn, in one run, medians compared.
//!
//! A benchmark prints one JSON line per thing it measures, times in microseconds: `ours` and `theirs` at the median and
//! at the 99th percentile of all inputs, and their `ratio`. `cargo xtask bench` reads them.

use std::time::Instant;

use serde_json::json;

/// Each input is taken so often both ways, in turn; its median counts.
const ROUNDS: usize = 21;

/// Measures `ours` against `theirs` over all inputs.
#[expect(clippy::print_stdout, reason = "a program that measures and prints")]
pub(crate) fn measure<I>(
    what: &str,
    against: &str,
    inputs: impl IntoIterator<Item = I>,
    mut ours: impl FnMut(&I),
    mut theirs: impl FnMut(&I),
) {
    let (mut own, mut other, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for input in inputs {
        let (mut mine, mut yours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            mine.push(timed(|| ours(&input)));
            yours.push(timed(|| theirs(&input)));
        }
        let (mine, yours) = (quantile(&mut mine, 0.5), quantile(&mut yours, 0.5));
        own.push(mine);
        other.push(yours);
        ratios.push(mine / yours);
    }
    let figures = |values: &mut Vec<f64>| json!({"p50": quantile(values, 0.5), "p99": quantile(values, 0.99)});
    let line = json!({
        "what": what, "against": against, "inputs": own.len(),
        "ours": figures(&mut own), "theirs": figures(&mut other), "ratio": figures(&mut ratios),
    });
    println!("{line}");
}

/// Microseconds.
#[expect(clippy::disallowed_methods, reason = "here it is the clock that is asked")]
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e6
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a short list"
)]
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}
