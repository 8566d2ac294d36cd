//! `bs9 man`: manual pages, made from the definition of the command line.

use std::{fs, path::PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::{
    cli::{Cli, Global},
    exit::{Exit, Failure},
    terminal,
};

const EXAMPLES: &str = "\
Examples:
  bs9 man | man -l -                   the first page
  bs9 man loadbalancer add | man -l -
  bs9 man --dir ./man1                 every page, as files
  man -M ./ bs9-loadbalancer-add       (the folder above man1)

`bs9 install` puts them where man finds them.";

/// Which pages.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The command to print the page of [default: bs9 itself].
    #[arg(value_name = "COMMAND", conflicts_with = "dir")]
    command: Vec<String>,
    /// Write all pages into this folder.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// A manual page.
pub(crate) struct Page {
    /// `bs9-serve.1`.
    pub(crate) name: String,
    /// As roff.
    pub(crate) text: Vec<u8>,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    match &arguments.dir {
        Some(folder) => {
            let cannot =
                |error| Failure::io(format!("cannot write into {}", folder.display()), error);
            fs::create_dir_all(folder).map_err(cannot)?;
            let pages = pages()?;
            for page in &pages {
                fs::write(folder.join(&page.name), &page.text).map_err(cannot)?;
            }
            if global.json {
                let names: Vec<_> = pages.iter().map(|page| &page.name).collect();
                return terminal::json(&serde_json::json!({ "schema": 1, "pages": names }));
            }
            terminal::say(format_args!("{} pages in {}", pages.len(), folder.display()))
        }
        None => {
            let name = std::iter::once("bs9").chain(arguments.command.iter().map(String::as_str));
            let wanted = format!("{}.1", name.collect::<Vec<_>>().join("-"));
            let page = pages()?.into_iter().find(|page| page.name == wanted).ok_or_else(|| {
                let what = format!("there is no command `{}`", arguments.command.join(" "));
                Failure::new(Exit::NotFound, what).hint("`bs9 help` lists them")
            })?;
            terminal::say(String::from_utf8_lossy(&page.text).trim_end())
        }
    }
}

/// Of every command that is not hidden, the first one included.
///
/// # Errors
/// None in practice: they are written to memory.
pub(crate) fn pages() -> Result<Vec<Page>, Failure> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(&root, None, &mut pages)
        .map_err(|error| Failure::io("cannot write a manual page", error))?;
    Ok(pages)
}

fn collect(command: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> std::io::Result<()> {
    let name = match above {
        Some(above) => format!("{above}-{}", command.get_name()),
        None => command.get_name().to_owned(),
    };
    // A page is looked for by this name, with a word for each level; clap has given it already.
    debug_assert_eq!(command.get_display_name().unwrap_or("bs9"), name);
    let mut text = Vec::new();
    Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .manual("bs9")
        .render(&mut text)?;
    pages.push(Page { name: format!("{name}.1"), text });
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, Some(&name), pages)?;
    }
    Ok(())
}
