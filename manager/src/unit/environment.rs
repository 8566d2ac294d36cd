//! The environment of a service: what bs9 says in it, and what is secret.

use bs9_config::Service;

use super::quote;

/// A variable that bs9 sets; nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// What bs9 tells an instance. A value of the same name in the description wins,
/// because systemd reads environment files after these.
pub(crate) fn own_variables(service: &Service, instance: u32) -> Vec<Variable> {
    let mut variables = vec![
        Variable { name: "SERVICE_NAME", value: service.name.to_string() },
        Variable { name: "INSTANCE", value: instance.to_string() },
        Variable { name: "NODE_ENV", value: "production".to_owned() },
        Variable { name: "OTEL_SERVICE_NAME", value: service.name.to_string() },
        Variable {
            name: "OTEL_RESOURCE_ATTRIBUTES",
            value: format!("service.instance.id={instance}"),
        },
    ];
    if let Some(port) = service.port_of(instance) {
        variables.push(Variable { name: "PORT", value: port.to_string() });
        variables.push(Variable { name: "HOST", value: service.host.to_string() });
        variables.push(Variable { name: "PROTOCOL", value: "http".to_owned() });
    }
    if let Some(endpoint) = &service.otel_endpoint {
        variables.push(Variable { name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: endpoint.clone() });
    }
    variables
}

/// The text of the file with the description's own environment, which only its
/// owner may read; `None` when there is nothing in it.
pub(crate) fn secret_text(service: &Service) -> Option<String> {
    let lines = service
        .environment
        .iter()
        .map(|(name, value)| quote::environment_line(name, value.reveal()));
    let text: String = lines.collect();
    (!text.is_empty()).then_some(text)
}
