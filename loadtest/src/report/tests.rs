use super::*;
use crate::{plan::Options, thread_time::ThreadTime};

const SECOND: Duration = Duration::from_secs(1);

/// A run of one thread that was so long on a core in each second, for ten requests.
fn report(cpu_ms: &[u64]) -> Report {
    let options = Options { threads: Some(1), ..Options::default() };
    let plan = Plan::new("http://127.0.0.1:1/".parse().unwrap(), options).unwrap();
    let start = Instant::now();
    let mut measured = Measurements::new(1, Arc::new([]));
    let (mut time, mut at) = (ThreadTime::default(), Duration::ZERO);
    let standing = measured.standing(time);
    measured.over_time.begin(standing);
    for ms in cpu_ms {
        for _ in 0..10 {
            measured.succeed(0, Duration::from_millis(1));
        }
        time.cpu += Duration::from_millis(*ms);
        at += SECOND;
        let standing = measured.standing(time);
        measured.over_time.cut(at, standing);
    }
    let finished = Finished {
        measured,
        connect: Latencies::new(),
        statements: None,
        warmed_up: 0,
        ended_at: start + at,
        wall: at,
        time,
        interrupted: false,
    };
    let address = "127.0.0.1:1".parse().unwrap();
    let evidence = Evidence { plan: &plan, address, start, failures: FailureLog::default() };
    Report::new(evidence, vec![finished])
}

/// The warnings of the page, as a reader sees them.
fn warnings_of_the_page(report: &Report) -> Vec<String> {
    let page = report.to_html();
    let parts = page.split("<p class=\"warning\">").skip(1);
    parts.map(|part| part.split("</p>").next().unwrap().replace("&#39;", "'")).collect()
}

#[test]
fn a_generator_that_is_the_bottleneck_is_said_so_wherever_figures_are_read() {
    let report = report(&[950, 950]);
    let sentence = "the load generator itself was short of CPU time: these are its limits, not \
                    the server's; use more threads, less load or another machine";
    assert_eq!(report.warnings, [sentence]);
    let text = report.to_string();
    assert!(text.ends_with(&format!("\n\nwarning: {sentence}")), "{text}");
    assert!(
        text.contains("generator  1.90 s of CPU, 95.00 ms a request; threads busy 95%"),
        "{text}"
    );
    assert_eq!(warnings_of_the_page(&report), [sentence]);
    let page = report.to_html();
    assert!(page.contains("1.90 s of CPU time, 95.00 ms for each request"), "{page}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["warnings"], serde_json::json!([sentence]));
    assert_eq!(
        json["generator"],
        serde_json::json!({
            "cpu_seconds": 1.9,
            "cpu_seconds_per_request": 0.095,
            "threads": [{ "cpu_ratio": 0.95, "waiting_ratio": 0.0 }],
            "saturated": true,
            "saturated_seconds": 2.0,
        })
    );
    assert_eq!(json["series"][1]["generator_busy_ratio"], 0.95);
}

#[test]
fn a_generator_that_was_the_bottleneck_for_a_while_says_for_how_long() {
    let report = report(&[950, 100, 1_000, 100]);
    let sentence = "the load generator itself was short of CPU time for 2 s of the run: what \
                    happened then are its limits, not the server's";
    assert_eq!(report.warnings, [sentence]);
    assert!(report.to_string().contains(&format!("warning: {sentence}")), "{report}");
    assert_eq!(warnings_of_the_page(&report), [sentence]);
    assert!(!report.generator.saturated);
}

#[test]
fn a_generator_with_time_to_spare_warns_of_nothing() {
    let report = report(&[500, 600]);
    assert!(report.warnings.is_empty() && !report.to_string().contains("warning"), "{report}");
    assert_eq!(warnings_of_the_page(&report), Vec::<String>::new());
}
