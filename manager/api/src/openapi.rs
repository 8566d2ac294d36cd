//! OpenAPI 3.1 documents of data plane and manager, from the endpoint table.
//!
//! `docs/openapi/` holds them as they were last reviewed; a test compares.

use std::collections::BTreeMap;

use bs9_config::Process;
use http::{Method, StatusCode};
use utoipa::{
    PartialSchema,
    openapi::{
        Components, ComponentsBuilder, Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder,
        PathItem, Paths, PathsBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use crate::{
    endpoints::{self, ContentKind, Described, Endpoint, role_word},
    error::ProblemCode,
    types::Problem,
};

/// The name of the one security scheme.
const TOKEN: &str = "token";

/// The document of `process`, as pretty-printed JSON with a newline at its end.
pub fn document(process: Process) -> String {
    let mut text = describe(process)
        .to_pretty_json()
        .expect("a document of strings and numbers can be written as JSON");
    text.push('\n');
    text
}

fn describe(process: Process) -> OpenApi {
    let endpoints = endpoints::of(process);
    let name = match process {
        Process::DataPlane => "data plane",
        Process::Manager => "manager",
    };
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title(format!("bs9 {name}"))
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(format!(
                    "The admin API of the {name}: over a Unix socket, where root and the \
                     process's own user may do everything, and over TCP with bearer tokens."
                ))),
        )
        .paths(paths(endpoints))
        .components(Some(components(endpoints)))
        .build()
}

fn paths(endpoints: &[&Endpoint]) -> Paths {
    let mut paths = PathsBuilder::new();
    for endpoint in endpoints {
        let item = PathItem::new(http_method(&endpoint.method), operation(endpoint));
        paths = paths.path(endpoint.path, item);
    }
    paths.build()
}

fn http_method(method: &Method) -> HttpMethod {
    if method == Method::POST { HttpMethod::Post } else { HttpMethod::Get }
}

fn operation(endpoint: &Endpoint) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(endpoint.operation_id))
        .summary(Some(endpoint.summary))
        .description(Some(match endpoint.access.least_role() {
            None => "Needs no token.".to_owned(),
            Some(role) => format!("Needs the role {} or above.", role_word(role)),
        }))
        .response(StatusCode::OK.as_str(), response("Done.", &(endpoint.response)()));
    for code in endpoint.refusals() {
        let named = Ref::from_response_name(component(code));
        operation = operation.response(code.status().as_str(), named);
    }
    for name in endpoint.path_parameters() {
        operation = operation.parameter(path_parameter(name));
    }
    for parameter in endpoint.query.map(query_parameters).unwrap_or_default() {
        operation = operation.parameter(parameter);
    }
    if let Some(request) = endpoint.request {
        let request = request();
        let body = RequestBodyBuilder::new()
            .content(request.kind.media_type(), content(&request))
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    if endpoint.access.least_role().is_some() {
        operation = operation.security(SecurityRequirement::new(TOKEN, [""; 0]));
    }
    operation.build()
}

/// The component that describes refusals with this code's status.
fn component(code: ProblemCode) -> &'static str {
    let first = ProblemCode::ALL.iter().find(|other| other.status() == code.status());
    first.unwrap_or(&code).as_str()
}

/// Every refusal, by component; what shares a status shares one.
fn refusals() -> BTreeMap<&'static str, RefOr<Response>> {
    let mut meanings = BTreeMap::<_, String>::new();
    for code in ProblemCode::ALL {
        let meaning = meanings.entry(component(code)).or_default();
        if !meaning.is_empty() {
            meaning.push_str(" Or: ");
        }
        meaning.push_str(code.meaning());
    }
    let problem = Described::json::<Problem>();
    let described = |(name, meaning): (_, String)| (name, response(&meaning, &problem).into());
    meanings.into_iter().map(described).collect()
}

fn response(description: &str, answer: &Described) -> Response {
    ResponseBuilder::new()
        .description(description)
        .content(answer.kind.media_type(), content(answer))
        .build()
}

/// JSON types stand among the components; text is described on the spot.
fn content(described: &Described) -> Content {
    match described.kind {
        ContentKind::Json | ContentKind::EventStream => {
            Content::new(Some(Ref::from_schema_name(described.name.as_ref())))
        }
        ContentKind::Text => Content::new(Some(described.schema.clone())),
    }
}

fn path_parameter(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(String::schema()))
        .build()
}

/// A parameter per field of the query's type.
fn query_parameters(query: fn() -> Described) -> Vec<Parameter> {
    let RefOr::T(Schema::Object(object)) = query().schema else {
        return Vec::new();
    };
    let required = object.required;
    object
        .properties
        .into_iter()
        .map(|(name, schema)| {
            let description = match &schema {
                RefOr::T(Schema::Object(field)) => field.description.clone(),
                _ => None,
            };
            ParameterBuilder::new()
                .parameter_in(ParameterIn::Query)
                .required(if required.contains(&name) { Required::True } else { Required::False })
                .name(name)
                .description(description)
                .schema(Some(schema))
                .build()
        })
        .collect()
}

/// Every type that is referred to, in name order.
fn components(endpoints: &[&Endpoint]) -> Components {
    ComponentsBuilder::new()
        .responses_from_iter(refusals())
        .schemas_from_iter(schemas(endpoints).into_iter().collect::<BTreeMap<_, _>>())
        .security_scheme(
            TOKEN,
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some("Over TCP only; see [[admin.tokens]]."))
                    .build(),
            ),
        )
        .build()
}

/// Every type that is referred to, as often as it is.
fn schemas(endpoints: &[&Endpoint]) -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = Vec::new();
    let bodies = endpoints
        .iter()
        .flat_map(|endpoint| endpoint.request.into_iter().chain([endpoint.response]));
    for describe in bodies.chain([Described::json::<Problem> as fn() -> Described]) {
        let described = describe();
        schemas.extend(described.parts);
        if described.kind != ContentKind::Text {
            schemas.push((described.name.into_owned(), described.schema));
        }
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_types_share_a_name() {
        for process in [Process::DataPlane, Process::Manager] {
            let mut seen = BTreeMap::new();
            for (name, schema) in schemas(endpoints::of(process)) {
                let text = serde_json::to_string(&schema).unwrap();
                let first = seen.entry(name.clone()).or_insert_with(|| text.clone());
                assert_eq!(*first, text, "{name}");
            }
        }
    }
}
