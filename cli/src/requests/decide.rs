//! Deciding: show what would run, ask, send the decision, say what became of it.

use std::io::{self, BufRead as _, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use crds::ApprovalRequest;
use crds::approval_request::{Choice, Phase};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use recording::transcript::safe;

use super::show;
use super::source::{self, Place, Refused, Source};
use crate::Exit;

/// How often a decision is sent again because somebody else wrote at the same time.
const CONFLICTS_MAX: u32 = 8;
/// How long to wait for the operator to say what became of it.
const SETTLING: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which request, and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Decision {
    /// Name of the ApprovalRequest, or `namespace/name`
    pub(super) name: String,
    #[command(flatten)]
    pub(super) place: Place,
    /// Why; it stands in the record, and the agent reads it when you deny
    #[arg(long, short = 'm', default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub(super) yes: bool,
}

pub(crate) fn run(args: &Decision, choice: Choice, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (namespace, name) = match args.name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, args.name.as_str()),
    };
    source::wait(async {
        let source = args.place.clone().within(namespace)?.open().await?;
        let request = source.get(name).await?;
        is_open(&request)?;
        out.write_all(show::request(&request, Timestamp::now()).as_bytes())?;
        out.flush()?;
        if !args.yes && !agreed(choice)? {
            bail!("nothing was decided");
        }
        let decided = send(&source, request, choice, &args.reason).await?;
        let settled = settle(&source, decided).await;
        writeln!(out, "{}", outcome(&settled, choice))?;
        Ok(Exit::Well)
    })
}

fn is_open(request: &ApprovalRequest) -> anyhow::Result<()> {
    match request.phase() {
        Phase::Pending => Ok(()),
        phase => bail!("{} is {phase:?} already: there is nothing to decide", request.name_any()),
    }
}

fn agreed(choice: Choice) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!(
            "nobody to ask: the input is no terminal; add --yes once you have read the statement"
        );
    }
    let question = match choice {
        Choice::Approved => "Let exactly this run, once?",
        Choice::Denied => "Refuse this?",
    };
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Sends the decision about exactly what was shown: a request of the same name that was made anew
/// meanwhile is another one.
async fn send(
    source: &Source,
    shown: ApprovalRequest,
    choice: Choice,
    reason: &str,
) -> anyhow::Result<ApprovalRequest> {
    let mut attempt = 0;
    loop {
        match source.decide(&shown, choice, reason).await {
            Ok(decided) => return Ok(decided),
            Err(Refused::Conflict(said)) if attempt == CONFLICTS_MAX => {
                bail!("others write to {} all the time: {said}", shown.name_any())
            }
            Err(Refused::Conflict(_)) => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                let now = source.get(&shown.name_any()).await?;
                if now.metadata.uid != shown.metadata.uid || now.spec != shown.spec {
                    bail!("{} is no longer the request that was shown", shown.name_any());
                }
                is_open(&now)?;
            }
            Err(Refused::Other(error)) => return Err(error.context("the decision was refused")),
        }
    }
}

/// The request once it has left `Pending`, or as it is when that takes long: more people may have
/// to approve.
async fn settle(source: &Source, decided: ApprovalRequest) -> ApprovalRequest {
    let mut request = decided;
    let end = tokio::time::Instant::now() + SETTLING;
    while request.phase() == Phase::Pending && tokio::time::Instant::now() < end {
        tokio::time::sleep(LOOK_EVERY).await;
        // The decision is made; not being able to look again is no failure.
        if let Ok(now) = source.get(&request.name_any()).await {
            request = now;
        }
    }
    request
}

fn outcome(request: &ApprovalRequest, choice: Choice) -> String {
    let name = safe(&request.name_any());
    let status = request.status.clone().unwrap_or_default();
    let by = status
        .decisions
        .last()
        .map(|decision| format!(" as {}", safe(&decision.approver)))
        .unwrap_or_default();
    match (request.phase(), choice) {
        (Phase::Approved, _) => format!("{name} is approved{by}: the statement runs once"),
        (Phase::Denied, _) => format!("{name} is denied{by}: the statement does not run"),
        (Phase::Expired, _) => format!("{name} expired before the decision counted; nothing ran"),
        (Phase::Withdrawn, _) => format!("{name} was withdrawn by its agent; nothing ran"),
        (Phase::Pending, Choice::Approved) => {
            let votes =
                status.votes.map(|votes| format!(" ({})", safe(&votes))).unwrap_or_default();
            format!("{name}: your approval{by} counts{votes}; it waits for more")
        }
        (Phase::Pending, Choice::Denied) => {
            format!("{name}: your denial{by} is written; the operator has not taken it up yet")
        }
    }
}
