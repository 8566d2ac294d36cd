//! `bs9 completions SHELL`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{cli::Cli, exit::Failure, terminal};

const EXAMPLES: &str = "\
Examples:
  bs9 completions bash > ~/.local/share/bash-completion/completions/bs9
  bs9 completions zsh  > \"${fpath[1]}/_bs9\"
  bs9 completions fish > ~/.config/fish/completions/bs9.fish";

/// The shell to print completions for.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    terminal::say(String::from_utf8_lossy(&script(arguments.shell)).trim_end())
}

/// The completions of a shell.
pub(crate) fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bs9", &mut script);
    script
}
