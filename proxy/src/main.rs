//! Parses the arguments and runs.

use clap::Parser;
use proxy::config::{Args, Config};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args::Run(args) = Args::parse();
    proxy::telemetry::start(&args.log);
    let shutdown = CancellationToken::new();
    proxy::stop_on_signal(shutdown.clone())?;
    proxy::run(Config::sidecar(args), shutdown).await?;
    Ok(())
}
