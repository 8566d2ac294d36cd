//! `/metrics`: the counters of shards, clusters and pools in Prometheus' text format.
//!
//! A recorder is made for each scrape and filled from the statuses, so that what
//! is gone (an endpoint, a pool) is gone from the metrics too, and counting costs
//! the shards nothing.

use bs9_api::types::{
    ClusterStatus, DataPlaneState, EndpointHealth, EndpointStatus, Http2Status, ListenerStatus,
    PoolStatus, TlsListenerStatus,
};
use bs9_net::ListenerReport;
use bs9_pool::LoginReport;
use bs9_proxy::LogReport;
use metrics::{Label, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::{engines::Engines, view::View};

mod pool_times;

mod times;

/// Counters of seconds. The recorder counts whole numbers only, so these are
/// recorded as gauges and declared as what they are afterwards.
const FRACTIONAL_COUNTERS: [&str; 1] = ["bs9_pool_wait_seconds_total"];

/// The present state of everything.
pub(super) fn render(view: &View, engines: &Engines) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        describe();
        process(view);
        view.listeners(engines).iter().for_each(listener);
        view.listener_reports().iter().for_each(|report| admission(report, engines));
        engines.logs().iter().for_each(access_log);
        engines.clusters().iter().for_each(cluster);
        engines.pools().iter().for_each(pool);
        logins(&engines.logins());
    });
    let mut text = handle.render();
    pool_times::append(&mut text, &engines.pools());
    for name in FRACTIONAL_COUNTERS {
        text = text.replace(&format!("# TYPE {name} gauge"), &format!("# TYPE {name} counter"));
    }
    times::write(view, engines, &mut text);
    text
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Vec<Label> {
    pairs.map(|(name, value)| Label::new(name, value.to_owned())).to_vec()
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

fn process(view: &View) {
    gauge!("bs9_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("bs9_process_start_time_seconds").set(view.started_at_seconds());
    gauge!("bs9_process_ready").set(flag(view.state == DataPlaneState::Serving));
    let books = view.generations.status();
    gauge!("bs9_config_generation").set(books.generation as f64);
    gauge!("bs9_config_unsaved_changes").set(books.unsaved_changes.len() as f64);
    gauge!("bs9_config_last_reload_successful").set(flag(books.last_failure.is_none()));
    counter!("bs9_config_reloads_total", "result" => "applied")
        .absolute(view.generations.applied());
    counter!("bs9_config_reloads_total", "result" => "refused")
        .absolute(view.generations.refusals());
    let renewals = view.generations.renewals();
    for (result, count) in [("applied", renewals.applied), ("refused", renewals.refused)] {
        counter!("bs9_certificate_renewals_total", "result" => result).absolute(count);
    }
    gauge!("bs9_certificate_stale_files").set(books.stale_certificates.len() as f64);
    for shard in view.shards() {
        let labels = labels([("shard", &shard.shard.to_string())]);
        gauge!("bs9_shard_open_connections", labels.clone()).set(shard.open_connections as f64);
        counter!("bs9_shard_accepted_connections_total", labels.clone())
            .absolute(shard.accepted_connections_total);
        gauge!("bs9_shard_stalled", labels.clone()).set(flag(shard.stalled));
        counter!("bs9_shard_stalls_total", labels).absolute(shard.stalls_total);
    }
}

fn listener(status: &ListenerStatus) {
    let by = labels([("listener", &status.name), ("protocol", &status.protocol)]);
    gauge!("bs9_listener_open_connections", by.clone()).set(status.open_connections as f64);
    counter!("bs9_listener_accepted_connections_total", by.clone())
        .absolute(status.accepted_connections_total);
    counter!("bs9_listener_refused_connections_total", by)
        .absolute(status.refused_connections_total);
    let by = labels([("listener", &status.name)]);
    if let Some(status) = &status.tls {
        tls(&by, status);
    }
    let Some(http) = &status.http else { return };
    counter!("bs9_http_requests_total", by.clone()).absolute(http.requests_total);
    counter!("bs9_http_received_bytes_total", by.clone()).absolute(http.received_bytes_total);
    counter!("bs9_http_sent_bytes_total", by.clone()).absolute(http.sent_bytes_total);
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(http.responses_total) {
        let by = labels([("listener", &status.name), ("class", class)]);
        counter!("bs9_http_responses_total", by).absolute(count);
    }
    for failure in &http.failures_total {
        let by = labels([("listener", &status.name), ("reason", &failure.reason)]);
        counter!("bs9_http_failures_total", by).absolute(failure.count);
    }
    if let Some(status) = &http.http2 {
        http2(&by, status);
    }
}

/// What came in and was not taken, and datagrams.
fn admission(report: &ListenerReport, engines: &Engines) {
    let listener = &report.listener;
    let by = labels([("listener", &listener.name)]);
    counter!("bs9_listener_denied_connections_total", by.clone())
        .absolute(listener.denied_connections());
    counter!("bs9_listener_bad_proxy_headers_total", by.clone()).absolute(listener.bad_headers());
    let Some(udp) = engines.udp(listener.id) else { return };
    for (name, count) in [
        ("bs9_udp_received_datagrams_total", udp.received),
        ("bs9_udp_sent_datagrams_total", udp.sent),
        ("bs9_udp_lost_datagrams_total", udp.lost),
        ("bs9_udp_refused_datagrams_total", udp.refused),
    ] {
        counter!(name, by.clone()).absolute(count);
    }
}

fn access_log(report: &LogReport) {
    let by = labels([("output", &report.output)]);
    counter!("bs9_access_log_written_total", by.clone()).absolute(report.written);
    counter!("bs9_access_log_dropped_total", by.clone()).absolute(report.dropped);
    counter!("bs9_access_log_errors_total", by).absolute(report.errors);
}

fn tls(by: &[Label], status: &TlsListenerStatus) {
    counter!("bs9_tls_handshakes_total", by.to_vec()).absolute(status.handshakes_total);
    counter!("bs9_tls_resumptions_total", by.to_vec()).absolute(status.resumptions_total);
    for failure in &status.failures_total {
        let kind = Label::new("kind", failure.reason.clone());
        let by = [by, &[kind]].concat();
        counter!("bs9_tls_handshake_failures_total", by).absolute(failure.count);
    }
}

fn http2(by: &[Label], status: &Http2Status) {
    for (name, count) in [
        ("bs9_http2_connections_total", status.connections_total),
        ("bs9_http2_requests_total", status.requests_total),
        ("bs9_http2_resets_total", status.resets_total),
    ] {
        counter!(name, by.to_vec()).absolute(count);
    }
    for ending in &status.endings_total {
        let reason = Label::new("reason", ending.reason.clone());
        let by = [by, &[reason]].concat();
        counter!("bs9_http2_endings_total", by).absolute(ending.count);
    }
}

fn cluster(status: &ClusterStatus) {
    let by = labels([("cluster", &status.name)]);
    gauge!("bs9_cluster_panicking", by.clone()).set(flag(status.panicking));
    gauge!("bs9_cluster_waiting", by.clone()).set(status.waiting as f64);
    counter!("bs9_cluster_retries_total", by.clone()).absolute(status.retries_total);
    counter!("bs9_cluster_retries_refused_total", by.clone())
        .absolute(status.retries_refused_total);
    gauge!("bs9_cluster_retries_under_way", by.clone()).set(status.retries_under_way as f64);
    if let Some(allowed) = status.retries_allowed {
        gauge!("bs9_cluster_retries_allowed", by).set(allowed as f64);
    }
    for one in &status.endpoints {
        endpoint(&status.name, one);
    }
}

fn endpoint(cluster: &str, status: &EndpointStatus) {
    let by = labels([("cluster", cluster), ("endpoint", &status.address)]);
    // One that is not probed takes traffic, so it counts as healthy.
    gauge!("bs9_endpoint_healthy", by.clone())
        .set(flag(status.health != EndpointHealth::Unhealthy));
    gauge!("bs9_endpoint_weight", by.clone()).set(f64::from(status.weight));
    gauge!("bs9_endpoint_draining", by.clone()).set(flag(status.draining));
    gauge!("bs9_endpoint_ejected", by.clone()).set(flag(status.ejected));
    counter!("bs9_endpoint_ejections_total", by.clone()).absolute(status.ejections_total);
    if let Some(until) = status.ejected_until {
        let seconds = until.as_millisecond() as f64 / 1e3;
        gauge!("bs9_endpoint_ejected_until_timestamp_seconds", by.clone()).set(seconds);
    }
    gauge!("bs9_endpoint_active", by.clone()).set(status.active as f64);
    gauge!("bs9_endpoint_idle_connections", by.clone()).set(status.idle_connections as f64);
    counter!("bs9_endpoint_requests_total", by.clone()).absolute(status.requests_total);
    counter!("bs9_endpoint_failures_total", by.clone()).absolute(status.failures_total);
    counter!("bs9_endpoint_connects_total", by.clone()).absolute(status.connects_total);
    counter!("bs9_endpoint_handovers_total", by.clone()).absolute(status.handovers_total);
    counter!("bs9_endpoint_connect_failures_total", by.clone())
        .absolute(status.connect_failures_total);
    if let Some(mean) = status.mean_response_seconds {
        gauge!("bs9_endpoint_mean_response_seconds", by).set(mean);
    }
}

fn logins(report: &LoginReport) {
    counter!("bs9_pool_logins_total").absolute(report.admitted);
    for refused in &report.refused {
        let by = labels([("sqlstate", &refused.reason)]);
        counter!("bs9_pool_refused_logins_total", by).absolute(refused.count);
    }
    for lookup in &report.lookups {
        let by = labels([("outcome", &lookup.reason)]);
        counter!("bs9_pool_lookups_total", by).absolute(lookup.count);
    }
}

fn pool(status: &PoolStatus) {
    let by = labels([("database", &status.database), ("user", &status.user)]);
    let in_state =
        |state| labels([("database", &status.database), ("user", &status.user), ("state", state)]);
    for (state, count) in [("active", status.clients_active), ("waiting", status.clients_waiting)] {
        gauge!("bs9_pool_clients", in_state(state)).set(count as f64);
    }
    let servers = [
        ("active", status.servers_active),
        ("idle", status.servers_idle),
        ("used", status.servers_used),
        ("tested", status.servers_tested),
        ("login", status.servers_login),
    ];
    for (state, count) in servers {
        gauge!("bs9_pool_servers", in_state(state)).set(count as f64);
    }
    gauge!("bs9_pool_size", by.clone()).set(status.pool_size as f64);
    gauge!("bs9_pool_max_wait_seconds", by.clone()).set(status.max_wait_seconds);
    gauge!("bs9_pool_paused", by.clone()).set(flag(status.paused));
    gauge!("bs9_pool_wait_seconds_total", by.clone()).set(status.wait_seconds_total);
    gauge!("bs9_pool_min_size", by.clone()).set(status.min_pool_size as f64);
    gauge!("bs9_pool_reserve_size", by.clone()).set(status.reserve_pool_size as f64);
    gauge!("bs9_pool_disabled", by.clone()).set(flag(status.disabled));
    for error in &status.errors_total {
        let class = Label::new("class", error.reason.clone());
        counter!("bs9_pool_errors_total", [&by[..], &[class]].concat()).absolute(error.count);
    }
    for pin in &status.pins_total {
        let reason = Label::new("reason", pin.reason.clone());
        counter!("bs9_pool_pins_total", [&by[..], &[reason]].concat()).absolute(pin.count);
    }
    let counts = [
        ("bs9_pool_queries_total", status.queries_total),
        ("bs9_pool_transactions_total", status.transactions_total),
        ("bs9_pool_received_bytes_total", status.received_bytes_total),
        ("bs9_pool_sent_bytes_total", status.sent_bytes_total),
        ("bs9_pool_wait_timeouts_total", status.wait_timeouts_total),
        ("bs9_pool_query_timeouts_total", status.query_timeouts_total),
        ("bs9_pool_slow_queries_total", status.slow_queries_total),
        ("bs9_pool_server_synchronisations_total", status.server_synchronisations_total),
        ("bs9_pool_server_connects_total", status.server_connects_total),
        ("bs9_pool_server_connect_failures_total", status.server_connect_failures_total),
        ("bs9_pool_servers_closed_dirty_total", status.servers_closed_dirty_total),
        ("bs9_pool_server_handovers_total", status.server_handovers_total),
        ("bs9_pool_cancels_total", status.cancels_total),
        ("bs9_pool_notifications_total", status.notifications_total),
        ("bs9_pool_notification_overflows_total", status.notification_overflows_total),
        ("bs9_pool_listener_losses_total", status.listener_losses_total),
        ("bs9_pool_prepared_hits_total", status.prepared_hits_total),
        ("bs9_pool_prepared_misses_total", status.prepared_misses_total),
        ("bs9_pool_prepared_evictions_total", status.prepared_evictions_total),
    ];
    for (name, count) in counts {
        counter!(name, by.clone()).absolute(count);
    }
}

/// A line of help for every name.
fn describe() {
    describe_gauge!("bs9_build_info", "The version that runs; always 1.");
    describe_gauge!(
        "bs9_process_start_time_seconds",
        "When the data plane started, since the epoch."
    );
    describe_gauge!("bs9_process_ready", "1 while it takes traffic, 0 while it drains.");
    describe_gauge!("bs9_config_generation", "Number of the configuration in force.");
    describe_gauge!(
        "bs9_config_unsaved_changes",
        "Changes through the API that the files do not hold."
    );
    describe_gauge!(
        "bs9_config_last_reload_successful",
        "0 after a refused reload, until one succeeds."
    );
    describe_counter!(
        "bs9_config_reloads_total",
        "Configurations put in force and reloads refused."
    );
    describe_counter!(
        "bs9_certificate_renewals_total",
        "Times that changed files of certificates were taken up, or could not be."
    );
    describe_gauge!(
        "bs9_certificate_stale_files",
        "Files of certificates that cannot be used: what they held before is in force."
    );
    describe_gauge!("bs9_shard_open_connections", "Client connections open, by shard.");
    describe_counter!(
        "bs9_shard_accepted_connections_total",
        "Client connections accepted, by shard."
    );
    describe_gauge!("bs9_shard_stalled", "The shard does not go on now: its connections wait.");
    describe_counter!(
        "bs9_shard_stalls_total",
        "Times that a shard did not go on for longer than a second."
    );
    describe_gauge!("bs9_listener_open_connections", "Client connections open.");
    describe_counter!("bs9_listener_accepted_connections_total", "Client connections accepted.");
    describe_counter!(
        "bs9_listener_refused_connections_total",
        "Closed at accept because a limit was reached."
    );
    describe_counter!(
        "bs9_listener_denied_connections_total",
        "Connections and sessions closed because of `allow` and `deny`."
    );
    describe_counter!(
        "bs9_listener_bad_proxy_headers_total",
        "Connections of trusted proxies closed because of their PROXY header."
    );
    describe_counter!("bs9_udp_received_datagrams_total", "Datagrams of clients.");
    describe_counter!("bs9_udp_sent_datagrams_total", "Datagrams sent to clients.");
    describe_counter!(
        "bs9_udp_lost_datagrams_total",
        "Datagrams that a socket did not take, either way."
    );
    describe_counter!(
        "bs9_udp_refused_datagrams_total",
        "Datagrams that began no session: no endpoint, a limit, an address that is not allowed."
    );
    describe_counter!("bs9_access_log_written_total", "Lines written.");
    describe_counter!(
        "bs9_access_log_dropped_total",
        "Lines dropped, because too many waited or writing failed."
    );
    describe_counter!("bs9_access_log_errors_total", "Times that writing or opening failed.");
    describe_counter!("bs9_tls_handshakes_total", "TLS handshakes that succeeded.");
    describe_counter!("bs9_tls_resumptions_total", "Those that took up an earlier session.");
    describe_counter!("bs9_tls_handshake_failures_total", "TLS handshakes that failed, by kind.");
    describe_counter!("bs9_http_requests_total", "Requests whose head was read.");
    describe_counter!("bs9_http_responses_total", "Responses by class of status.");
    describe_counter!(
        "bs9_http_failures_total",
        "Answers bs9 gave instead of an endpoint, by reason."
    );
    describe_counter!("bs9_http_received_bytes_total", "Received from clients.");
    describe_counter!("bs9_http_sent_bytes_total", "Sent to clients.");
    describe_counter!("bs9_http2_connections_total", "Connections that spoke HTTP/2.");
    describe_counter!("bs9_http2_requests_total", "Requests by HTTP/2.");
    describe_counter!("bs9_http2_resets_total", "Requests by HTTP/2 that the client gave up.");
    describe_counter!(
        "bs9_http2_endings_total",
        "Connections of HTTP/2 that have ended, by reason; floods are told apart."
    );
    describe_gauge!(
        "bs9_endpoint_healthy",
        "1 while it may take traffic as far as its health goes."
    );
    describe_gauge!(
        "bs9_cluster_panicking",
        "1 while too few endpoints are available and health is disregarded."
    );
    describe_gauge!("bs9_cluster_waiting", "Requests that wait for an endpoint below its limit.");
    describe_counter!("bs9_cluster_retries_total", "Requests that were tried again.");
    describe_counter!(
        "bs9_cluster_retries_refused_total",
        "Requests that the budget did not allow to be tried again."
    );
    describe_gauge!("bs9_endpoint_weight", "Its weight; 0 takes no new traffic.");
    describe_gauge!("bs9_endpoint_draining", "1 while it takes nothing new.");
    describe_gauge!("bs9_endpoint_ejected", "1 while it is out because live traffic failed.");
    describe_gauge!(
        "bs9_endpoint_ejected_until_timestamp_seconds",
        "While it is out: when a probe may let it back at the earliest."
    );
    describe_gauge!("bs9_cluster_retries_under_way", "Retries under way.");
    describe_gauge!(
        "bs9_cluster_retries_allowed",
        "How many there might be when one was last asked for."
    );
    describe_counter!("bs9_endpoint_ejections_total", "How often it was taken out for that.");
    describe_gauge!("bs9_endpoint_active", "Requests (HTTP) or connections (TCP) in flight.");
    describe_gauge!("bs9_endpoint_idle_connections", "Idle connections kept for reuse.");
    describe_counter!(
        "bs9_endpoint_requests_total",
        "Requests (HTTP) or connections (TCP) sent there."
    );
    describe_counter!(
        "bs9_endpoint_failures_total",
        "Of them, those that failed before or in the response."
    );
    describe_counter!("bs9_endpoint_connects_total", "Connections made.");
    describe_counter!(
        "bs9_endpoint_handovers_total",
        "Idle connections handed from one shard to another, which would have made one."
    );
    describe_counter!("bs9_endpoint_connect_failures_total", "Connections that could not be made.");
    describe_gauge!("bs9_endpoint_mean_response_seconds", "Mean time to the head of a response.");
    describe_gauge!("bs9_pool_clients", "Clients by state.");
    describe_gauge!("bs9_pool_servers", "Server connections by state.");
    describe_gauge!("bs9_pool_size", "Most server connections there may be.");
    describe_gauge!("bs9_pool_max_wait_seconds", "How long the oldest waiting client has waited.");
    describe_gauge!("bs9_pool_paused", "1 while it is paused.");
    describe_gauge!("bs9_pool_disabled", "1 while new clients are refused.");
    describe_gauge!("bs9_pool_min_size", "Server connections that are kept for nobody.");
    describe_gauge!(
        "bs9_pool_reserve_size",
        "Server connections beyond its size, for clients that have waited long."
    );
    describe_counter!("bs9_pool_errors_total", "Errors of servers, by class of SQLSTATE.");
    describe_counter!("bs9_pool_logins_total", "Clients that logged in.");
    describe_counter!(
        "bs9_pool_refused_logins_total",
        "Clients that were told why they may not log in, by SQLSTATE."
    );
    describe_counter!(
        "bs9_pool_lookups_total",
        "Questions to servers about users (auth_query, roles), by outcome."
    );
    describe_counter!(
        "bs9_pool_pins_total",
        "Server connections that stayed with their client, by reason."
    );
    describe_counter!(
        "bs9_pool_notifications_total",
        "Notifications given to clients that share a listening connection."
    );
    describe_counter!(
        "bs9_pool_notification_overflows_total",
        "Clients disconnected because they did not take their notifications."
    );
    describe_counter!("bs9_pool_listener_losses_total", "Shared listening connections that broke.");
    describe_counter!("bs9_pool_query_timeouts_total", "Queries cancelled for running too long.");
    describe_counter!("bs9_pool_slow_queries_total", "Slow queries logged.");
    describe_counter!(
        "bs9_pool_server_synchronisations_total",
        "Round trips that brought a server connection to a client's parameters."
    );
    describe_gauge!(
        "bs9_pool_wait_seconds_total",
        "Time clients spent waiting for a server connection."
    );
    describe_counter!("bs9_pool_queries_total", "Queries forwarded.");
    describe_counter!("bs9_pool_transactions_total", "Transactions finished.");
    describe_counter!("bs9_pool_received_bytes_total", "Received from clients.");
    describe_counter!("bs9_pool_sent_bytes_total", "Sent to clients.");
    describe_counter!("bs9_pool_wait_timeouts_total", "Waits that ended in the wait timeout.");
    describe_counter!("bs9_pool_server_connects_total", "Server connections made.");
    describe_counter!(
        "bs9_pool_server_connect_failures_total",
        "Server connections that could not be made."
    );
    describe_counter!(
        "bs9_pool_servers_closed_dirty_total",
        "Closed because they were not provably clean."
    );
    describe_counter!("bs9_pool_server_handovers_total", "Handed from one shard to another.");
    describe_counter!("bs9_pool_cancels_total", "Cancel requests passed on.");
    describe_counter!(
        "bs9_pool_prepared_hits_total",
        "Prepared statements that were on the server connection when they were wanted."
    );
    describe_counter!(
        "bs9_pool_prepared_misses_total",
        "Prepared statements sent to a server connection that lacked them."
    );
    describe_counter!(
        "bs9_pool_prepared_evictions_total",
        "Prepared statements closed to make room for others."
    );
}
