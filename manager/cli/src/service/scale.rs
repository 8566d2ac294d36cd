//! `bs9 scale`.

use bs9_api::types::ScaleService;
use clap::Args;

use super::{client, report};
use crate::{
    cli::Global,
    exit::{Exit, Failure},
    runtime,
};

const EXAMPLES: &str = "\
Examples:
  bs9 scale api 4              four instances, on the port and the three after it
  bs9 scale api +1
  bs9 scale api -2             those that go are drained first";

/// Which service, and how many.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The service.
    name: String,
    /// Instances there should be, or how many more or fewer.
    #[arg(value_name = "N|+N|-N", allow_hyphen_values = true)]
    count: String,
}

pub(crate) fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let client = client(global);
    let name = arguments.name.as_str();
    let scaled = runtime::block_on(async {
        let present = client.service(name).await?.service.instances_wanted;
        let instances = count(&arguments.count, present).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{}` is not a number of instances", arguments.count))
                .hint("write 4, +1 or -1; a service has at least one, `bs9 stop` ends it")
        })?;
        Ok(client.scale_service(name, &ScaleService { instances }).await?)
    })?;
    report(&scaled, global)
}

fn count(text: &str, present: u32) -> Option<u32> {
    let number = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => present.checked_add(more.parse().ok()?)?,
        (_, Some(fewer)) => present.checked_sub(fewer.parse().ok()?)?,
        _ => text.parse().ok()?,
    };
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_absolute_or_relative() {
        let cases = [
            ("4", Some(4)),
            ("+2", Some(5)),
            ("-1", Some(2)),
            ("-3", None),
            ("-4", None),
            ("0", None),
            ("x", None),
            ("+99999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text, 3), expected, "{text}");
        }
    }
}
