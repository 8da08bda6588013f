//! `cargo xtask clients`: real clients, as they come, against Frostgate on this machine.
//!
//! ```text
//! clients     installs what is needed, enters the room, tries every cell of every client
//!   room      namespaces in which the account's name leads to Frostgate; the stage; starting a client
//!   client    the clients: packages, programs, what they lack
//!   cell      what is asked of a client, and what must come of it
//!   table     docs/clients.md
//! ```

mod cell;
mod client;
mod room;
mod table;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::demo::local::Stage;
use crate::progress::say;
use crate::workspace;

use cell::{Cell, Outcome};
use client::{CLIENTS, Client};
use room::Room;
use table::Line;

/// Which clients, and how much of each.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Names of clients, such as connector-5, jdbc-4, node; all of them without one
    clients: Vec<String>,
    /// Login, types, rows (100,000 at most), denial and approval alone
    #[arg(long)]
    short: bool,
    /// Cells alone, by their names in the table, such as "its own ways"
    #[arg(long, value_name = "NAME")]
    cell: Vec<String>,
    /// Everything is installed, and this process is in namespaces of its own
    #[arg(long, hide = true)]
    inside: bool,
}

/// Runs `cargo xtask clients`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let chosen = chosen(&arguments.clients)?;
    if arguments.inside {
        return inside(&chosen, arguments);
    }
    Stage::prepare(&room::plan())?;
    for client in &chosen {
        client.program()?;
    }
    if let Some(unknown) = arguments.cell.iter().find(|cell| Cell::named(cell).is_none()) {
        let known: Vec<&str> = Cell::ALL.iter().map(|(_, name, _)| *name).collect();
        bail!("no cell is called {unknown}; there are {}", known.join("; "));
    }
    room::enter(std::env::args_os().skip(2))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Client>> {
    if let Some(unknown) = names.iter().find(|name| CLIENTS.iter().all(|it| it.name != **name)) {
        let known: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        bail!("no client is called {unknown}; there are {}", known.join(", "));
    }
    let wanted =
        |client: &&Client| names.is_empty() || names.iter().any(|name| name == client.name);
    Ok(CLIENTS.iter().filter(wanted).collect())
}

fn inside(chosen: &[&'static Client], arguments: &Arguments) -> Result<()> {
    let short = arguments.short;
    let named: Vec<Cell> = arguments.cell.iter().filter_map(|name| Cell::named(name)).collect();
    let wanted =
        |cell: Cell| (!short || cell.short()) && (named.is_empty() || named.contains(&cell));
    let room = Room::open()?;
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for client in chosen {
        let start = Instant::now();
        let mut outcomes = Vec::new();
        for (cell, name, _) in Cell::ALL.iter().filter(|(cell, _, _)| wanted(*cell)) {
            let began = Instant::now();
            let outcome = cell.run(&room, client, short);
            if began.elapsed().as_secs() > 40 {
                say(format!("  {}, {name} took {} s", client.name, began.elapsed().as_secs()));
            }
            match &outcome {
                Outcome::Pass | Outcome::NotApplicable(_) => {}
                Outcome::FailsDirectToo(why) => {
                    say(format!("{}, {name}: fails direct too: {why}", client.name));
                    // One that nobody expected is a fault of the matrix itself.
                    if !client.unable.contains(cell) {
                        failed.push(format!("{}, {name}, direct too", client.name));
                    }
                }
                Outcome::Fails(why) => {
                    say(format!("{}, {name}: FAILS: {why}", client.name));
                    failed.push(format!("{}, {name}", client.name));
                }
            }
            outcomes.push((*cell, outcome));
        }
        let passed = outcomes.iter().filter(|(_, it)| *it == Outcome::Pass).count();
        let seconds = start.elapsed().as_secs();
        say(format!("{}: {passed} of {} pass ({seconds} s)", client.name, outcomes.len()));
        let package = format!("{} {}", client.package, client.version()?);
        lines.push(Line { name: client.name, package, rows: client.rows, outcomes });
    }
    let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
    let path = workspace::root().join("docs/clients.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let page = table::page(&names, &lines, &before);
    if !failed.is_empty() {
        println!("{}", table::page(&names, &lines, ""));
        bail!("failed: {}; logs are in {}", failed.join("; "), room.stage.folder.display());
    }
    if !short && named.is_empty() {
        std::fs::write(path, &page)?;
    }
    println!("{page}");
    Ok(())
}
