//! `frostgate test`: a policy against a table of statements and what is expected of each.

use std::{io::Write, path::PathBuf};

use crate::{
    Exit,
    scene::{Cases, Scene, documents, verdict},
};

/// Try policies on statements, without a cluster and without Snowflake
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files with AccessPolicies (and connections, for their baseline)
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Files with a catalog, a session and cases
    #[arg(required = true, value_name = "CASES")]
    cases: Vec<PathBuf>,
}

/// # Errors
/// When a file cannot be read, a policy can never work, or a case is decided otherwise than it expects.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let documents = documents(&args.files)?;
    let mut invalid = 0;
    for document in &documents {
        for problem in policy::check(document) {
            invalid += 1;
            writeln!(out, "invalid {} {}: {}", document.name, problem.path, problem.message)?;
        }
    }
    let (mut count, mut wrong) = (0, 0);
    for path in &args.cases {
        let cases = Cases::read(path)?;
        let scene = Scene::new(&documents, &cases)?;
        for (index, case) in cases.cases.iter().enumerate() {
            count += 1;
            let (_, decision) = scene.judge(&case.sql);
            let found = verdict(&decision);
            let expected = case.expect.trim();
            if found == expected || (expected == "deny" && found.starts_with("deny ")) {
                continue;
            }
            wrong += 1;
            writeln!(out, "wrong   {}[{index}] {}", path.display(), case.sql)?;
            writeln!(out, "        expected {expected}, decided {found}")?;
            if let Some(refusal) = &decision.refusal {
                writeln!(out, "        {refusal}")?;
            }
        }
    }
    writeln!(out, "{count} cases, {wrong} wrong")?;
    out.flush()?;
    if invalid + wrong > 0 {
        anyhow::bail!(
            "{wrong} cases are decided otherwise than expected, {invalid} errors in policies"
        );
    }
    Ok(Exit::Well)
}
