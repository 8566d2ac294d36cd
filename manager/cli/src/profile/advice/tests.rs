//! A table: what is measured, and which rules speak.

use super::*;
use crate::profile::traffic::EndpointTraffic;

/// A figure that goes in a straight line from `first` to `last` in a minute.
fn line(name: &'static str, first: f64, last: f64) -> Figure {
    let points: Vec<(f64, f64)> = (0..=20_u32)
        .map(|step| {
            let at = f64::from(step);
            (at * 3.0, first + (last - first) * at / 20.0)
        })
        .collect();
    Figure { name, unit: Unit::Ratio, source: None, values: Values::of(&points), reason: None }
}

fn saw(name: &'static str, low: f64, high: f64) -> Figure {
    let points: Vec<(f64, f64)> =
        (0..21).map(|at| (f64::from(at), if at % 2 == 0 { low } else { high })).collect();
    Figure { name, unit: Unit::Bytes, source: None, values: Values::of(&points), reason: None }
}

fn traffic(requests: u64, times: (f64, f64), errors: f64, shares: &[(f64, f64)]) -> Traffic {
    let endpoints = shares.iter().enumerate().map(|(at, (share, fair))| EndpointTraffic {
        address: format!("10.0.0.{at}:80"),
        share_ratio: Some(*share),
        fair_ratio: Some(*fair),
        ..EndpointTraffic::default()
    });
    Traffic {
        cluster: "api".into(),
        requests,
        p50_seconds: Some(times.0),
        p99_seconds: Some(times.1),
        error_ratio: Some(errors),
        endpoints: endpoints.collect(),
        ..Traffic::default()
    }
}

fn busy(cores: &[f64]) -> Vec<InstanceFigures> {
    cores
        .iter()
        .map(|cores| InstanceFigures { cpu_cores_mean: Some(*cores), ..InstanceFigures::default() })
        .collect()
}

fn said_of<'f>(figures: &'f [Figure], change: impl FnOnce(&mut Facts<'f>)) -> Vec<Advice> {
    let mut facts = Facts {
        service: "api",
        figures,
        instances: &[],
        limits: Limits {
            cpu_cores: Some(2.0),
            memory_bytes: Some(1024.0 * 1024.0 * 512.0),
            open_files: Some(1024.0),
        },
        oom_kills: 0.0,
        traffic: None,
        host_cores: Some(8.0),
        host_busy_cores: Some(2.0),
    };
    change(&mut facts);
    advise(&facts)
}

fn rules<'f>(figures: &'f [Figure], change: impl FnOnce(&mut Facts<'f>)) -> Vec<&'static str> {
    said_of(figures, change).iter().map(|advice| advice.rule).collect()
}

#[test]
fn figures_that_speak_and_figures_that_do_not() {
    let steady = |name, value| line(name, value, value);
    let cases: Vec<(Vec<Figure>, &[&str])> = vec![
        (Vec::new(), &[]),
        (vec![steady("memory_limit_ratio", 0.93)], &["memory_near_limit"]),
        (vec![steady("memory_limit_ratio", 0.89)], &[]),
        (vec![steady("open_files_limit_ratio", 0.8)], &["open_files_near_limit"]),
        (vec![steady("open_files_limit_ratio", 0.79)], &[]),
        (vec![steady("throttled_ratio", 0.05)], &["cpu_throttled"]),
        (vec![steady("throttled_ratio", 0.04)], &[]),
        (vec![steady("cpu_limit_ratio", 0.95)], &["cpu_near_limit"]),
        // The same thing is not said twice.
        (vec![steady("cpu_limit_ratio", 0.95), steady("throttled_ratio", 0.3)], &["cpu_throttled"]),
        (vec![steady("cpu_pressure_ratio", 0.2)], &["cpu_pressure"]),
        (vec![steady("cpu_pressure_ratio", 0.19)], &[]),
        (vec![steady("memory_pressure_ratio", 0.05)], &["memory_pressure"]),
        (vec![steady("io_pressure_ratio", 0.1)], &["io_pressure"]),
        (vec![line("memory_bytes", 1e8, 1.1e8)], &["memory_grows"]),
        (vec![line("memory_bytes", 1e8, 1.001e8)], &[]),
        (vec![line("memory_bytes", 1.1e8, 1e8)], &[]),
        (vec![saw("memory_bytes", 1e8, 2e8)], &[]),
        (vec![line("threads", 10.0, 40.0)], &["threads_grow"]),
        (
            vec![line("open_files", 100.0, 200.0), line("open_files_limit_ratio", 0.1, 0.2)],
            &["open_files_grow"],
        ),
        // Without a limit in sight more open files are more clients.
        (vec![line("open_files", 100.0, 200.0)], &[]),
    ];
    for (figures, expected) in cases {
        let names: Vec<_> = figures.iter().map(|f| (f.name, f.values.map(|v| v.mean))).collect();
        assert_eq!(rules(&figures, |_| ()), expected, "{names:?}");
    }
}

#[test]
fn traffic_that_speaks_and_traffic_that_does_not() {
    let even = [(0.5, 0.5), (0.5, 0.5)];
    let cases: Vec<(Traffic, &[&str])> = vec![
        (traffic(1_000, (0.001, 0.005), 0.0, &even), &[]),
        (traffic(1_000, (0.005, 0.05), 0.0, &even), &["long_tail"]),
        // Ten times almost nothing is nothing.
        (traffic(1_000, (0.0005, 0.025), 0.0, &even), &[]),
        (traffic(99, (0.005, 1.0), 0.5, &[(1.0, 0.5), (0.0, 0.5)]), &[]),
        (traffic(1_000, (0.001, 0.001), 0.01, &even), &["errors"]),
        (traffic(1_000, (0.001, 0.001), 0.009, &even), &[]),
        (traffic(1_000, (0.001, 0.001), 0.0, &[(0.8, 0.5), (0.2, 0.5)]), &["lopsided"]),
        (traffic(1_000, (0.001, 0.001), 0.0, &[(0.74, 0.5), (0.26, 0.5)]), &[]),
        // Its weight says so.
        (traffic(1_000, (0.001, 0.001), 0.0, &[(0.8, 0.8), (0.2, 0.2)]), &[]),
        (traffic(1_000, (0.001, 0.001), 0.0, &[(1.0, 1.0)]), &[]),
    ];
    for (traffic, expected) in cases {
        let said = rules(&[], |facts| facts.traffic = Some(&traffic));
        assert_eq!(said, expected, "{traffic:?}");
    }
}

#[test]
fn instances_that_speak_and_instances_that_do_not() {
    for (cores, free, expected) in [
        (&[1.0, 0.95][..], 2.0, &["one_core"][..]),
        (&[1.0, 0.4], 2.0, &[]),
        (&[1.0], 0.5, &[]),
        (&[1.8], 4.0, &[]),
        (&[], 4.0, &[]),
    ] {
        let instances = busy(cores);
        let said = rules(&[], |facts| {
            facts.instances = &instances;
            facts.host_busy_cores = Some(8.0 - free);
        });
        assert_eq!(said, expected, "{cores:?} {free}");
    }
    let mut instances = busy(&[0.1]);
    instances[0].restarts = 2;
    let said = rules(&[], |facts| {
        facts.instances = &instances;
        facts.oom_kills = 1.0;
    });
    assert_eq!(said, ["out_of_memory", "restarts"]);
}

#[test]
fn what_is_said_cites_its_numbers() {
    let figures = [
        line("memory_limit_ratio", 0.50, 0.80),
        line("memory_bytes", 256.0 * 1024.0 * 1024.0, 409.6 * 1024.0 * 1024.0),
        line("cpu_pressure_ratio", 0.4, 0.4),
    ];
    let traffic = traffic(500, (0.005, 0.25), 0.0, &[]);
    let said = said_of(&figures, |facts| facts.traffic = Some(&traffic));
    let of = |rule: &str| said.iter().find(|advice| advice.rule == rule).unwrap();
    // 30 % of the limit a minute, and 20 % are left.
    let grows = of("memory_grows");
    assert!((grows.numbers["limit_in_seconds"] - 40.0).abs() < 0.1, "{grows:?}");
    assert!(grows.text.contains("256.0 MiB to 409.6 MiB"), "{grows:?}");
    assert!(grows.text.contains("meets its limit in 40.0 s"), "{grows:?}");
    let tail = of("long_tail");
    assert!(tail.text.contains("p99 (250.0 ms) is 50 times p50 (5.0 ms)"), "{tail:?}");
    assert!(tail.text.contains("waited for a processor 40.0 % of the time"), "{tail:?}");
    assert_eq!(said[0].severity, Severity::High, "the most urgent is said first");
    let near = said_of(&[line("memory_limit_ratio", 0.93, 0.93)], |_| ());
    assert!(near[0].text.contains("93.0 % of limits.memory_max"), "{near:?}");
    assert!(near[0].text.contains("476.2 MiB of 512.0 MiB"), "{near:?}");
}
