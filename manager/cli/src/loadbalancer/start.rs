//! `bs9 loadbalancer start`: a load balancer from flags.

use std::{fmt::Write as _, net::IpAddr, str::FromStr};

use bs9_config::{Config, EndpointAddress};
use clap::{Args, ValueEnum};

use crate::{
    cli::Global,
    dataplane::Ready,
    exit::Failure,
    from_flags::{self, quoted},
    terminal::{self, STRONG},
};

/// The cluster, and what the log calls it.
const CLUSTER: &str = "backends";
/// The listener.
const LISTENER: &str = "loadbalancer";

const EXAMPLES: &str = "\
Examples:
  bs9 loadbalancer start -b 127.0.0.1:3001,127.0.0.1:3002
  bs9 loadbalancer start -p 80 -a weighted-round-robin -b 10.0.0.1:3000:3,10.0.0.2:3000:1
  bs9 loadbalancer start -b app1:3000,app2:3000 --health-check --health-path /healthz

It answers `bs9 loadbalancer status|add|remove|weight|drain` while it runs. Changes made that way
live as long as it does; for more than flags can say, write a file and use `bs9 serve --config FILE`.
-h is help; the host is --host.";

/// A load balancer in flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Port to listen on.
    #[arg(long, short, default_value_t = 8080)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    host: IpAddr,
    /// How an endpoint is picked.
    #[arg(long, short, value_enum, default_value = "round-robin")]
    algorithm: Algorithm,
    /// Endpoints, separated by commas: host:port, or host:port:weight.
    #[arg(
        long,
        short,
        value_delimiter = ',',
        required = true,
        value_name = "HOST:PORT[:WEIGHT],…"
    )]
    backends: Vec<Backend>,
    /// Probe the endpoints, and send nothing to those that fail.
    #[arg(long)]
    health_check: bool,
    /// What is requested of an endpoint to probe it.
    #[arg(long, default_value = "/healthz", value_name = "PATH")]
    health_path: String,
    /// Milliseconds between two probes.
    #[arg(long, default_value_t = 10_000, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    health_interval: u64,
}

/// `--algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Algorithm {
    /// In turn.
    RoundRobin,
    /// In turn, by weight.
    WeightedRoundRobin,
    /// Fewest requests in flight, relative to weight.
    LeastConnections,
    /// The less loaded of two random ones.
    P2c,
    /// At random, by weight.
    Random,
}

/// One of `--backends`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Backend {
    address: EndpointAddress,
    weight: u16,
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address =
            |text: &str| text.parse::<EndpointAddress>().map_err(|error| error.to_string());
        let text = text.trim();
        let first = match address(text) {
            Ok(address) => return Ok(Self { address, weight: 1 }),
            Err(error) => error,
        };
        let Some((rest, weight)) = text.rsplit_once(':') else { return Err(first) };
        match (address(rest), weight.parse()) {
            (Ok(address), Ok(weight)) => Ok(Self { address, weight }),
            (Ok(_), Err(_)) => Err(format!("`{weight}` is not a weight (0 to 65535)")),
            _ => Err(first),
        }
    }
}

pub(super) fn run(arguments: Arguments, global: &Global) -> Result<(), Failure> {
    from_flags::serve(configuration(&arguments)?, global, async |ready: Ready| {
        for (_, address) in &ready.addresses {
            terminal::say(format_args!("{STRONG}load balancer{STRONG:#} on http://{address}"))?;
        }
        terminal::say(format_args!("  bs9 loadbalancer status --socket {}", ready.socket.display()))
    })
}

/// The flags as a configuration.
fn configuration(arguments: &Arguments) -> Result<Config, Failure> {
    let algorithm =
        arguments.algorithm.to_possible_value().map(|value| value.get_name().to_owned());
    let endpoints: Vec<_> = arguments
        .backends
        .iter()
        .map(|one| {
            format!("{{ address = {}, weight = {} }}", quoted(&one.address.to_string()), one.weight)
        })
        .collect();
    let bind = std::net::SocketAddr::new(arguments.host, arguments.port);
    let mut text = format!(
        "[listeners.{LISTENER}]\nbind = [\"{bind}\"]\nprotocol = \"http\"\n\
         [[listeners.{LISTENER}.routes]]\ncluster = \"{CLUSTER}\"\n\
         [clusters.{CLUSTER}]\nbalance = {}\nendpoints = [{}]\n",
        quoted(&algorithm.unwrap_or_default()),
        endpoints.join(", ")
    );
    if arguments.health_check {
        let interval = arguments.health_interval;
        // A probe has to be over before the next one starts.
        let timeout = interval.min(1_000);
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "health_check = {{ path = {}, interval = \"{interval}ms\", timeout = \"{timeout}ms\" }}",
            quoted(&arguments.health_path)
        );
    }
    from_flags::configuration("load balancer", &text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &[&str]) -> Result<Arguments, clap::Error> {
        Line::try_parse_from([&["start"], line].concat()).map(|line| line.arguments)
    }

    #[test]
    fn familiar_flags_make_a_configuration() {
        let arguments = parse(&[
            "-p",
            "9000",
            "-a",
            "weighted-round-robin",
            "-b",
            "127.0.0.1:3001:3,app:3002",
            "--health-check",
            "--health-path",
            "/up",
            "--health-interval",
            "500",
        ])
        .unwrap();
        let config = configuration(&arguments).unwrap();
        let cluster = &config.clusters[CLUSTER];
        assert_eq!(cluster.balance.name(), "weighted-round-robin");
        let shown: Vec<_> =
            cluster.endpoints.iter().map(|e| (e.address.to_string(), e.weight)).collect();
        assert_eq!(shown, [("127.0.0.1:3001".to_owned(), 3), ("app:3002".to_owned(), 1)]);
        let check = cluster.health_check.as_ref().unwrap();
        assert_eq!(check.interval.as_millis(), 500);
        assert_eq!(config.listeners[LISTENER].bind[0].to_string(), "0.0.0.0:9000");
        assert!(config.sources.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            &["-b", "127.0.0.1"][..],
            &["-b", "127.0.0.1:1:70000"],
            &[],
            &["-a", "magic", "-b", "a:1"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
        let twice = parse(&["-b", "a:1,a:1"]).unwrap();
        assert!(configuration(&twice).is_err());
    }
}
