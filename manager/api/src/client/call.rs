//! A call before it is sent.

use http::{Method, Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Serialize;

use super::ClientError;
use crate::endpoints::{ContentKind, Endpoint};

/// An endpoint of the table with its parameters filled in.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self { method: endpoint.method.clone(), path: endpoint.path.to_owned(), body: None }
    }

    pub(crate) fn path_parameter(mut self, name: &str, value: &str) -> Self {
        self.path = self.path.replace(&format!("{{{name}}}"), &percent_encoded(value));
        self
    }

    /// Fields that are absent are left out.
    pub(crate) fn query<Q: Serialize>(mut self, query: &Q) -> Result<Self, ClientError> {
        let unfit = |error| ClientError::protocol("the query cannot be written", error);
        let serde_json::Value::Object(fields) = serde_json::to_value(query).map_err(unfit)? else {
            return Err(ClientError::Protocol {
                what: "the query has no fields".to_owned(),
                source: None,
            });
        };
        let mut separator = '?';
        for (name, value) in fields {
            let value = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            self.path.push(separator);
            self.path.push_str(&percent_encoded(&name));
            self.path.push('=');
            self.path.push_str(&percent_encoded(&value));
            separator = '&';
        }
        Ok(self)
    }

    pub(crate) fn body<B: Serialize>(mut self, body: &B) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body)
            .map_err(|error| ClientError::protocol("the request cannot be written", error))?;
        self.body = Some(bytes);
        Ok(self)
    }

    pub(crate) fn into_request(
        self,
        host: &str,
        authorization: Option<http::HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request =
            Request::builder().method(self.method).uri(self.path).header(header::HOST, host);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, ContentKind::Json.media_type());
        }
        request
            .body(Full::from(self.body.unwrap_or_default()))
            .map_err(|error| ClientError::protocol("the request cannot be written", error))
    }
}

/// Everything but the unreserved characters of RFC 3986, section 2.3.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        endpoints::{data_plane, manager},
        types::HistoryQuery,
    };

    #[test]
    fn parameters_are_encoded() {
        let call = Call::new(&data_plane::cluster).path_parameter("cluster", "a/b c?é");
        assert_eq!(call.path, "/v1/clusters/a%2Fb%20c%3F%C3%A9");
    }

    #[test]
    fn absent_fields_of_a_query_are_left_out() {
        let path =
            |seconds| Call::new(&manager::history).query(&HistoryQuery { seconds }).unwrap().path;
        assert_eq!(path(None), "/v1/history");
        assert_eq!(path(Some(60)), "/v1/history?seconds=60");
    }

    fn decoded(text: &str) -> Vec<u8> {
        let mut bytes = text.bytes();
        let mut decoded = Vec::new();
        while let Some(byte) = bytes.next() {
            decoded.push(match byte {
                b'%' => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                plain => plain,
            });
        }
        decoded
    }

    proptest! {
        #[test]
        fn any_name_fits_in_a_path_and_comes_back(name in any::<String>()) {
            let call = Call::new(&data_plane::cluster).path_parameter("cluster", &name);
            let encoded = call.path.strip_prefix("/v1/clusters/").unwrap().to_owned();
            prop_assert_eq!(decoded(&encoded), name.as_bytes());
            prop_assert!(!encoded.contains(['/', '?', '#', ' ']));
            prop_assert!(call.into_request("localhost", None).is_ok());
        }
    }
}
