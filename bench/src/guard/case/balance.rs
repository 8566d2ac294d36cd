//! The endpoint of a request: picked, counted as in flight, and let go.

use std::hint::black_box;

use bs9_proxy::cluster::{Affinity, Cluster, ShardCluster, Tried};

/// Picks among `count` endpoints by this algorithm; where that hashes, by a client's address.
pub(super) fn pick(algorithm: &str, count: usize) -> Box<dyn FnMut()> {
    let endpoints: Vec<_> = (0..count).map(|number| endpoint(algorithm, number)).collect();
    let text = format!(
        "[listeners.web]\nbind = [\"127.0.0.1:8080\"]\nprotocol = \"tcp\"\ncluster = \"origin\"\n\
         [clusters.origin]\nbalance = \"{algorithm}\"\nendpoints = [{}]\n",
        endpoints.join(", ")
    );
    let config = bs9_config::parse_str("guard.toml", &text).expect("the configuration is valid");
    let cluster = config.clusters.values().next().expect("it has one cluster");
    let shard = ShardCluster::new(&Cluster::compile(cluster, None, None, 1), 0, None);
    if algorithm == "maglev" || algorithm == "ring-hash" {
        return Box::new(move || {
            let affinity = Affinity::of(black_box(&[10, 0, 0, 1]));
            assert!(black_box(shard.lease_for(&Tried::default(), affinity)).is_ok());
        });
    }
    Box::new(move || {
        let lease = shard.lease(black_box(&Tried::default()));
        assert!(black_box(lease).is_some());
    })
}

/// Of different weights, where they count.
fn endpoint(algorithm: &str, number: usize) -> String {
    let address = format!("127.0.0.1:{}", 3000 + number);
    match algorithm {
        "weighted-round-robin" | "random" => {
            format!("{{ address = \"{address}\", weight = {} }}", number % 5 + 1)
        }
        _ => format!("\"{address}\""),
    }
}
