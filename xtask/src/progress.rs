//! Progress on long work: one line per step with the time since the start, and waits that end.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Prints one line of progress, on standard error: standard output is for results.
pub(crate) fn say(line: impl Display) {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed().as_secs();
    eprintln!("[{:>2}:{:02}] {line}", elapsed / 60, elapsed % 60);
}

/// Asks `ready` until it answers `None`, meaning that nothing is missing any more; gives up after
/// `limit` with what was missing last.
pub(crate) fn wait(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<String>>,
) -> Result<()> {
    let start = Instant::now();
    let mut told = start;
    loop {
        let Some(missing) = ready()? else { return Ok(()) };
        if start.elapsed() > limit {
            bail!("{what}: not there after {} s: {missing}", limit.as_secs());
        }
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            say(format!("  still waiting for {what}: {missing}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
