//! `cargo xtask fuzz`: coverage-guided fuzzing of tests that are ordinary ones otherwise, on the stable compiler.
//!
//! A target is a test that hands bytes from `bolero::check!()` to a function. Built with LLVM's counters of edges it is a
//! program of libFuzzer; built as usual it replays the inputs that once were findings. Corpora grow in `target/fuzz`.

mod log;
mod seeds;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{self, command};
use crate::progress::say;
use crate::workspace;

/// What to fuzz, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Targets: lexer, analyze, arrow, json; all of them unless named
    targets: Vec<String>,
    /// Minutes of CPU time for each target
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Minutes by the clock after which every target ends, however little CPU time it got
    #[arg(long)]
    within: Option<u64>,
}

/// One test that takes bytes.
struct Target {
    name: &'static str,
    package: &'static str,
    /// Which of the package's programs holds it.
    program: &'static [&'static str],
    test: &'static str,
    /// The folder of the inputs that were findings, beside the test.
    inputs: &'static str,
    /// Sources whose literals make the dictionary.
    words: &'static str,
    /// Whether statements are what it begins with.
    statements: bool,
    /// Bytes of an input.
    longest: u32,
}

const TARGETS: &[Target] = &[
    Target {
        name: "lexer",
        package: "frostgate-sql",
        program: &["--lib"],
        test: "dialect::fuzz::no_text_reads_differently_to_two_lexers",
        inputs: "core/sql/src/dialect/__fuzz__/dialect__fuzz__no_text_reads_differently_to_two_lexers",
        words: "core/sql/src",
        statements: true,
        longest: 512,
    },
    Target {
        name: "analyze",
        package: "frostgate-policy",
        program: &["--test", "cases"],
        test: "fuzz::no_text_slips_past_the_analysis",
        inputs: "core/policy/tests/cases/__fuzz__/fuzz__no_text_slips_past_the_analysis",
        words: "core/sql/src",
        statements: true,
        longest: 1024,
    },
    Target {
        name: "arrow",
        package: "frostgate-snowflake",
        program: &["--test", "fuzz"],
        test: "arrow::no_arrow_stream_shows_what_is_masked",
        inputs: "core/snowflake/tests/fuzz/__fuzz__/arrow__no_arrow_stream_shows_what_is_masked",
        words: "core/snowflake/src/rows",
        statements: false,
        longest: 4096,
    },
    Target {
        name: "json",
        package: "frostgate-snowflake",
        program: &["--test", "fuzz"],
        test: "json::no_answer_shows_what_is_masked",
        inputs: "core/snowflake/tests/fuzz/__fuzz__/json__no_answer_shows_what_is_masked",
        words: "core/snowflake/src",
        statements: false,
        longest: 4096,
    },
];

/// What makes LLVM count edges and comparisons, and bolero hand over to libFuzzer.
const FLAGS: &[&str] = &[
    "--cfg fuzzing",
    "--cfg fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// More memory than this, for an input of some kilobytes, is a finding.
const MEMORY_MB: u32 = 512;
/// An input that takes longer is a finding. It is a long time, because it goes by the clock, on machines that have other
/// work too.
const SECONDS: u32 = 60;

/// Runs `cargo xtask fuzz`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let targets = chosen(&arguments.targets)?;
    let commit = process::read(
        command("git", ["describe", "--always", "--dirty"]).current_dir(workspace::root()),
    )?;
    let mut runs = Vec::new();
    let mut programs = BTreeMap::new();
    for target in targets {
        let key = (target.package, target.program);
        let program = match programs.get(&key) {
            Some(program) => PathBuf::clone(program),
            None => {
                say(format!("building {} with counters", target.package));
                let program = build(target)?;
                programs.insert(key, program.clone());
                program
            }
        };
        runs.push((target, program));
    }
    let budget = Duration::from_secs(arguments.minutes * 60);
    let within = arguments.within.map(|minutes| Duration::from_secs(minutes * 60));
    let mut open = Vec::new();
    for (target, program) in runs {
        say(format!("fuzzing {}: {}", target.name, target.folder().display()));
        open.push(Run::start(target, &program)?);
    }
    let mut found = Vec::new();
    while !open.is_empty() {
        std::thread::sleep(Duration::from_secs(1));
        let mut still = Vec::new();
        for mut run in open {
            run.watch(budget, within)?;
            match run.child.try_wait()? {
                None => still.push(run),
                Some(_) => {
                    let line = run.line(commit.trim())?;
                    say(format!("{}: {line}", run.target.name));
                    log::append(&line)?;
                    found.extend(run.findings()?);
                }
            }
        }
        open = still;
    }
    if found.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
    bail!(
        "{} inputs are findings; mend what they show and check them in below the target's `crashes`:\n{}",
        found.len(),
        list.join("\n")
    )
}

fn chosen(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let known = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    names
        .iter()
        .map(|name| {
            TARGETS
                .iter()
                .find(|target| target.name == name)
                .with_context(|| format!("there is no target {name}, only {}", known()))
        })
        .collect()
}

/// Builds a target's program. What runs while building (macros, build scripts) is built as usual, which needs the target
/// triple to be named.
fn build(target: &Target) -> Result<PathBuf> {
    let version = process::read(&mut command("rustc", ["-vV"]))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let said = process::read(
        command("cargo", ["test", "--no-run", "--profile", "fuzz", "--message-format", "json"])
            .args(["--quiet", "--target", host, "--package", target.package])
            .args(target.program)
            .arg("--target-dir")
            .arg(folder())
            .current_dir(workspace::root())
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )?;
    said.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no program of {}", target.package))
}

fn folder() -> PathBuf {
    workspace::target().join("fuzz")
}

impl Target {
    /// Corpus, seeds, findings and what libFuzzer said.
    fn folder(&self) -> PathBuf {
        folder().join(self.name)
    }
}

/// A target at work.
struct Run {
    target: &'static Target,
    child: Child,
    started: Instant,
    cpu: Duration,
    told_to_end: bool,
}

impl Run {
    fn start(target: &'static Target, program: &Path) -> Result<Self> {
        let folder = target.folder();
        for name in ["corpus", "seeds", "findings"] {
            fs::create_dir_all(folder.join(name))?;
        }
        // The next build must not change what runs.
        let own = folder.join("program");
        let beside = folder.join("program.new");
        fs::copy(program, &beside)?;
        fs::rename(&beside, &own)?;
        if target.statements {
            seeds::statements(&folder.join("seeds"))?;
        }
        let dictionary = folder.join("dictionary");
        fs::write(&dictionary, seeds::words(&workspace::root().join(target.words))?)?;
        let checked_in = ["corpus", "crashes"]
            .map(|name| workspace::root().join(target.inputs).join(name))
            .into_iter()
            .filter(|folder| folder.is_dir());
        let mut words: Vec<String> = [folder.join("corpus"), folder.join("seeds")]
            .into_iter()
            .chain(checked_in)
            .map(|folder| folder.display().to_string())
            .collect();
        words.extend([
            format!("-artifact_prefix={}/", folder.join("findings").display()),
            format!("-dict={}", dictionary.display()),
            format!("-max_len={}", target.longest),
            format!("-timeout={SECONDS}"),
            format!("-rss_limit_mb={MEMORY_MB}"),
            format!("-report_slow_units={SECONDS}"),
            "-print_final_stats=1".to_owned(),
        ]);
        let output = File::create(folder.join("log"))?;
        let child = command(&own.display().to_string(), [target.test])
            .args(["--exact", "--nocapture", "--quiet", "--test-threads", "1"])
            .env("BOLERO_TEST_NAME", target.test)
            .env("BOLERO_LIBTEST_HARNESS", "1")
            // A panic that is caught is no finding, and a backtrace of each takes most of the time.
            .env("RUST_BACKTRACE", "0")
            // libFuzzer's own words are cut at spaces.
            .env("BOLERO_LIBFUZZER_ARGS", words.join(" "))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", own.display()))?;
        let zero = Duration::ZERO;
        Ok(Self { target, child, started: Instant::now(), cpu: zero, told_to_end: false })
    }

    /// Counts its CPU time, and ends it where that is used up.
    fn watch(&mut self, budget: Duration, within: Option<Duration>) -> Result<()> {
        let pid = self.child.id();
        // After its end the last figure counts.
        if let Some(cpu) = cpu(pid) {
            self.cpu = self.cpu.max(cpu);
        }
        let is_late = within.is_some_and(|within| self.started.elapsed() > within);
        if (self.cpu >= budget || is_late) && !self.told_to_end {
            self.told_to_end = true;
            // An interrupted fuzzer still says what it did.
            process::run(&mut command("kill", ["-INT", &pid.to_string()]))?;
        }
        Ok(())
    }

    /// What the log keeps of it.
    fn line(&self, commit: &str) -> Result<String> {
        let said = fs::read(self.target.folder().join("log"))?;
        Ok(log::line(&log::Entry {
            commit,
            target: self.target.name,
            wall: self.started.elapsed(),
            cpu: self.cpu,
            said: &String::from_utf8_lossy(&said),
            findings: self.findings()?.len(),
        }))
    }

    /// The inputs that this run found.
    fn findings(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for file in fs::read_dir(self.target.folder().join("findings"))? {
            let file = file?;
            if file.metadata()?.modified()?.elapsed().is_ok_and(|age| age < self.started.elapsed())
            {
                found.push(file.path());
            }
        }
        Ok(found)
    }
}

/// User and system time of a process, in hundredths of a second as Linux shows them to everybody.
fn cpu(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
