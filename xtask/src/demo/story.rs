//! How the story is told: a heading, what is done, and what came of it.

use std::process::{Child, ChildStdout, Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A new chapter.
pub(crate) fn chapter(title: &str) {
    println!("\n== {title}");
}

/// What is about to happen, as one would type it.
pub(crate) fn typed(line: &str) {
    println!("   $ {line}");
}

/// Some lines that came of it.
pub(crate) fn said(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}

/// Stops with what was expected and what came instead, unless `holds`.
pub(crate) fn expect(holds: bool, what: &str, instead: &str) -> Result<()> {
    if !holds {
        bail!("the demonstration expected {what}, and got: {instead}");
    }
    println!("   -> {what}");
    Ok(())
}

/// A program that runs beside the story and ends with it.
pub(crate) struct Beside {
    child: Child,
    keep: bool,
}

impl Beside {
    /// Starts it.
    pub(crate) fn start(command: &mut Command, keep: bool) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("start {program}"))?;
        Ok(Self { child, keep })
    }

    /// What it prints, where that was asked for.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.keep {
            // SIGTERM first: what is under way is recorded and shipped.
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            for _ in 0..100 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The agent's last line, which is JSON.
pub(crate) fn answer(output: &Output) -> Result<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().with_context(|| {
        format!("the agent said nothing: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    serde_json::from_str(line).with_context(|| format!("the agent said: {line}"))
}
