//! `frostgate why`: what becomes of a statement, by which rule, and where its columns come from.

use std::{io::Write, path::PathBuf};

use policy::{Decision, Effect};
use sql::{Access, Against, Analysis, Lineage};

use crate::{
    Exit,
    scene::{Cases, Scene, documents, verdict},
};

/// Say what becomes of a statement, and why
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files with AccessPolicies (and connections, for their baseline)
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file with tables, views, session and human, as `frostgate test` reads it
    #[arg(long, value_name = "CASES")]
    catalog: Option<PathBuf>,
    /// The statement
    #[arg(long)]
    sql: String,
}

/// # Errors
/// When a file cannot be read.
pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let cases = args.catalog.as_deref().map(Cases::read).transpose()?.unwrap_or_default();
    let scene = Scene::new(&documents(&args.files)?, &cases)?;
    let (analysis, decision) = scene.judge(&args.sql);
    decided(&decision, out)?;
    understood(&analysis, out)?;
    columns(&analysis, &decision, out)?;
    Ok(Exit::Well)
}

fn line(out: &mut dyn Write, title: &str, text: &str) -> std::io::Result<()> {
    writeln!(out, "{title:<10} {text}")
}

fn decided(decision: &Decision, out: &mut dyn Write) -> std::io::Result<()> {
    line(out, "decision", &verdict(decision))?;
    if let Some(refusal) = &decision.refusal {
        line(out, "because", &refusal.message)?;
        if let Some(rule) = &refusal.rule {
            line(out, "rule", &format!("{} of AccessPolicy {}", rule.rule, rule.policy))?;
        }
        if let Some(hint) = &refusal.hint {
            line(out, "to pass", hint)?;
        }
    }
    for demand in &decision.demands {
        let groups = if demand.approvers.groups.is_empty() {
            "whom RBAC lets approve the policy".to_owned()
        } else {
            format!("the members of {}", demand.approvers.groups.join(", "))
        };
        line(
            out,
            "approval",
            &format!(
                "rule {} of {}: {} of {groups}, within {} s",
                demand.rule,
                demand.policy,
                demand.approvers.min_approvals,
                demand.pending_ttl_seconds
            ),
        )?;
    }
    if let Some(lifted) = &decision.lifted {
        line(out, "lifted", &format!("mode Audit lifts: {}", lifted.refusal))?;
    }
    if decision.redact_errors && decision.effect != Effect::Deny {
        line(out, "errors", "texts of the server are replaced: they could quote masked values")?;
    }
    Ok(())
}

fn understood(analysis: &Analysis, out: &mut dyn Write) -> std::io::Result<()> {
    let words: Vec<String> = analysis.words.iter().map(ToString::to_string).collect();
    line(out, "statement", &format!("{} ({})", words.join(", counts as "), analysis.effect))?;
    if let Some(problem) = &analysis.problem {
        line(out, "problem", &problem.message)?;
    }
    for touch in &analysis.objects {
        let access = match touch.access {
            Access::Read => "reads",
            Access::Write => "writes",
            Access::Create => "creates",
            Access::Alter => "alters",
            Access::Drop => "drops",
        };
        let through = touch.through.as_ref().map(|view| format!(" through {view}"));
        line(out, access, &format!("{}{}", touch.name, through.unwrap_or_default()))?;
    }
    for risk in &analysis.risks {
        line(out, "risk", risk.as_str())?;
    }
    for function in &analysis.functions {
        line(out, "calls", function)?;
    }
    for used in &analysis.uses {
        let columns: Vec<String> = used.columns.iter().map(ToString::to_string).collect();
        let against = match &used.against {
            Against::Constant { equality: true } => "equal to a constant".to_owned(),
            Against::Constant { equality: false } => "compared with a constant".to_owned(),
            Against::Column(other) => format!("equal to {other}"),
            Against::Expression => "in an expression or order".to_owned(),
        };
        line(out, "steers", &format!("{:?}: {} {against}", used.place, columns.join(", ")))?;
    }
    for flow in &analysis.flows {
        let columns: Vec<String> = flow.columns.iter().map(ToString::to_string).collect();
        line(out, "flows", &format!("{} into {}", columns.join(", "), flow.sink))?;
    }
    Ok(())
}

fn columns(analysis: &Analysis, decision: &Decision, out: &mut dyn Write) -> std::io::Result<()> {
    let outputs = match &analysis.lineage {
        Lineage::Columns(outputs) => outputs,
        Lineage::Metadata => return Ok(()),
        Lineage::Unknown(why) => return line(out, "columns", &format!("unknown: {why}")),
    };
    for (position, output) in outputs.iter().enumerate() {
        let name = output.name.as_deref().unwrap_or("(unnamed)");
        let mask = decision.masks.iter().find(|mask| mask.position == position);
        let shown = match mask {
            None => String::new(),
            Some(mask) if mask.mask.derived => "  masked: one value for every row".to_owned(),
            Some(mask) => format!("  masked: {:?}", mask.mask.method),
        };
        line(out, "column", &format!("{position} {name}{shown}"))?;
        for (index, source) in output.sources.iter().enumerate() {
            let branch = if index + 1 == output.sources.len() { "└─" } else { "├─" };
            let how = if output.plain { "" } else { " (in an expression)" };
            let views: Vec<String> =
                through(analysis, source).into_iter().map(ToString::to_string).collect();
            let way = match views.as_slice() {
                [] => String::new(),
                views => format!(" through {}", views.join(", ")),
            };
            line(out, "", &format!("{branch} {source}{how}{way}"))?;
        }
    }
    Ok(())
}

/// The views by which the statement reads the table of a column, where it reads it in no other way.
fn through<'a>(analysis: &'a Analysis, source: &sql::Column) -> Vec<&'a sql::Name> {
    let touches = analysis.objects.iter().filter(|touch| touch.name == source.object);
    touches.map(|touch| touch.through.as_deref()).collect::<Option<_>>().unwrap_or_default()
}
