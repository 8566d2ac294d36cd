//! `bs9 install` and `bs9 uninstall`: the data plane and the manager as systemd units.
//!
//! [`Place`](place::Place) says where things go, [`contents`] what they are; a
//! [`Plan`](plan::Plan) is the difference to what is there, which is shown, and carried
//! out. What was written is kept in a [`Record`](record::Record), so that `uninstall`
//! takes away that and nothing else.

use std::path::PathBuf;

use clap::Args;

use crate::{
    cli::Global,
    exit::{Exit, Failure},
    terminal,
};

mod contents;
mod place;
mod plan;
mod record;
mod removal;
mod report;
mod settings;
mod systemctl;
mod unit;

use place::{Place, Scope};
use plan::Plan;
use record::Record;
use report::Report;
use settings::Settings;
use systemctl::Systemctl;

const INSTALL_EXAMPLES: &str = "\
Examples:
  bs9 install --dry-run                    what would be done, and nothing else
  bs9 install                              for you: units of your own systemd
  sudo bs9 install --system                for the machine
  sudo bs9 install --system --config /etc/bs9/bs9.toml
  bs9 install --system --root ./image      into a tree of files; nothing is started

The listening sockets are made by systemd and outlive the data plane, so `systemctl restart bs9`
refuses no connection. They are those of the configuration: run `bs9 install` again when its
addresses have changed, or with a new version of bs9. A configuration that is there is never touched.";

const UNINSTALL_EXAMPLES: &str = "\
Examples:
  bs9 uninstall --dry-run
  bs9 uninstall                            takes away what `bs9 install` made
  sudo bs9 uninstall --system --purge      configuration, history, audit log and tokens as well

Files that were changed since they were installed stay, and are named. Services that bs9 keeps
running are not stopped: `bs9 delete --all` does that, as long as the manager runs.";

/// Where, and what with.
#[derive(Debug, Args)]
#[command(after_help = INSTALL_EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whither: Whither,
    /// The data plane's configuration, a file or a folder of *.toml files [default: the
    /// first of bs9.toml and bs9.d in the folder bs9 of $XDG_CONFIG_HOME, or with --system
    /// of /etc; one to begin with is written when there is none].
    #[arg(long, short, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Run this program where it stands, instead of a copy of the present one in
    /// ~/.local/bin, or with --system in /usr/local/bin.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Write everything, and start nothing.
    #[arg(long)]
    no_start: bool,
}

/// What to take away.
#[derive(Debug, Args)]
#[command(after_help = UNINSTALL_EXAMPLES)]
pub(crate) struct UninstallArguments {
    #[command(flatten)]
    whither: Whither,
    /// Take away the configuration and everything that was kept as well.
    #[arg(long)]
    purge: bool,
}

/// What both verbs take.
#[derive(Debug, Args)]
struct Whither {
    /// Units of the machine's systemd, not of your own. Takes root.
    #[arg(long)]
    system: bool,
    /// A tree of files to work in, as for an image; systemd is not asked. With --system.
    #[arg(long, value_name = "FOLDER", requires = "system")]
    root: Option<PathBuf>,
    /// Show what would be done.
    #[arg(long)]
    dry_run: bool,
}

impl Whither {
    fn place(&self) -> Result<Place, Failure> {
        let scope = if self.system { Scope::System } else { Scope::User };
        Place::new(scope, self.root.as_deref())
    }

    /// systemd, unless files alone are to be changed.
    fn systemctl(&self, place: &Place) -> Result<Option<Systemctl>, Failure> {
        if self.root.is_some() {
            return Ok(None);
        }
        if self.system && !self.dry_run && !rustix::process::geteuid().is_root() {
            return Err(Failure::new(Exit::Permission, "units of the machine take root")
                .hint("run it with sudo, or without --system for units of your own"));
        }
        Systemctl::find(place.scope).map(Some)
    }
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let Arguments { whither, config, program, no_start } = arguments;
    let place = whither.place()?;
    let systemctl = whither.systemctl(&place)?.filter(|_| !no_start);
    let settings = Settings::read(&place, config)?;
    let files = contents::all(&place, &settings, program.as_deref())?;
    let record = Record::read(&place)?;
    let plan = Plan::to_install(&place, &settings, files, record, systemctl.as_ref())?;
    let report = Report::of(&plan, &place, whither.dry_run);
    if whither.dry_run {
        return report.show(global.json);
    }
    plan.carry_out(&place, systemctl.as_ref())?;
    report.show(global.json)?;
    if place.scope == Scope::System && !settings.has_own_folder(&place) {
        let folder = place.configuration().join("bs9.d");
        terminal::remark(format!(
            "the data plane may not change {}, so `--persist` is refused, and services are not put \
             in front of it; the files of {} are its own",
            settings.path.display(),
            folder.display()
        ));
    }
    if !global.json {
        report::next_steps(&place, &settings, systemctl.is_some())?;
    }
    Ok(())
}

pub(crate) fn uninstall(arguments: UninstallArguments, global: &Global) -> Result<(), Failure> {
    let UninstallArguments { whither, purge } = arguments;
    let place = whither.place()?;
    let systemctl = whither.systemctl(&place)?;
    let record = Record::read(&place)?.ok_or_else(|| {
        Failure::new(Exit::NotFound, "nothing is installed here").hint(format!(
            "{} would say what was installed; with or without --system is another place",
            place.record().display()
        ))
    })?;
    let plan = removal::plan(&place, &record, purge, systemctl.as_ref())?;
    let report = Report::of(&plan, &place, whither.dry_run);
    if !whither.dry_run {
        plan.carry_out(&place, systemctl.as_ref())?;
    }
    report.show(global.json)
}
