//! `bs9 check FILE`: every error of a configuration, where it stands.

use std::path::PathBuf;

use bs9_config::{Checked, Process, Report};
use clap::Args;

use crate::{
    cli::Global,
    configuration_path,
    exit::{Exit, Failure},
    terminal::{self, GOOD},
};

const EXAMPLES: &str = "\
Examples:
  bs9 check bs9.toml                    0 when valid, else every error and exit code 5
  bs9 check /etc/bs9/bs9.d              a folder: its *.toml merged in name order
  bs9 check manager.toml --manager      a manager's configuration
  bs9 check services/api.toml --service a service's description
  bs9 check bs9.toml --json             for programs
  bs9 check --schema > bs9.schema.json  JSON Schema, so that editors complete and check";

/// What is checked.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file, or a folder of *.toml files [default: where `bs9 serve` looks].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// It is the manager's configuration, not the data plane's.
    #[arg(long)]
    manager: bool,
    /// It is the description of a service.
    #[arg(long, conflicts_with = "manager")]
    service: bool,
    /// Print the JSON Schema of the configuration instead.
    #[arg(long, conflicts_with = "file")]
    schema: bool,
}

pub(crate) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    let process = if arguments.manager { Process::Manager } else { Process::DataPlane };
    if arguments.schema {
        if arguments.service {
            return terminal::json(&bs9_config::service_json_schema());
        }
        return terminal::json(&match process {
            Process::DataPlane => bs9_config::json_schema(),
            Process::Manager => bs9_config::manager_json_schema(),
        });
    }
    let path = match (arguments.service, arguments.file) {
        (true, None) => return Err(Failure::new(Exit::Usage, "name the file of the service")),
        (_, file) => configuration_path::required(file, process)?,
    };
    let verdict = match process {
        _ if arguments.service => Verdict::of(bs9_config::check_service(&path)),
        Process::DataPlane => Verdict::of(bs9_config::check(&path)),
        Process::Manager => Verdict::of(bs9_config::check_manager(&path)),
    };
    if global.json {
        terminal::json(&verdict.report.to_json())?;
        return if verdict.valid { Ok(()) } else { Err(Failure::silent(Exit::Config)) };
    }
    if !verdict.valid {
        return Err(Failure::report(verdict.report));
    }
    if !verdict.report.is_empty() {
        terminal::remark(verdict.report.render(true).trim_end());
    }
    terminal::say(format_args!("{GOOD}valid{GOOD:#}: {}", path.display()))
}

struct Verdict {
    valid: bool,
    report: Report,
}

impl Verdict {
    fn of<C>(checked: Checked<C>) -> Self {
        Self { valid: checked.config.is_some(), report: checked.report }
    }
}
