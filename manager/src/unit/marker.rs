//! What a unit file says to bs9: whose it is and what it was made from.
//!
//! systemd ignores sections that begin with `X-` (systemd.unit(5)), so the mark is
//! in the one place that cannot get lost.

use bs9_api::types::ClusterRoute;

const SECTION: &str = "[X-Bs9]";

/// The mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) service: String,
    pub(crate) instance: u32,
    /// A cluster of the data plane that has it as an endpoint.
    pub(crate) cluster: Option<String>,
    /// The endpoint's address.
    pub(crate) endpoint: Option<String>,
    pub(crate) route: Option<ClusterRoute>,
}

impl Marker {
    /// As it stands at the end of a unit file.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{SECTION}\nService={}\nInstance={}\n", self.service, self.instance);
        let mut line = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                text.push_str(&format!("{name}={value}\n"));
            }
        };
        line("Cluster", self.cluster.as_ref());
        line("Endpoint", self.endpoint.as_ref());
        if let Some(route) = &self.route {
            line("RouteListener", route.listener.as_ref());
            line("RouteHost", route.host.as_ref());
            line("RoutePath", route.path.as_ref());
        }
        text
    }

    /// The mark of a unit file; `None` when it is not one of bs9's.
    pub(crate) fn read(unit_text: &str) -> Option<Self> {
        let (_, section) = unit_text.split_once(SECTION)?;
        let mut marker = Self::default();
        let mut route = ClusterRoute { listener: None, host: None, path: None };
        for line in section.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let value = value.to_owned();
            match name {
                "Service" => marker.service = value,
                "Instance" => marker.instance = value.parse().ok()?,
                "Cluster" => marker.cluster = Some(value),
                "Endpoint" => marker.endpoint = Some(value),
                "RouteListener" => route.listener = Some(value),
                "RouteHost" => route.host = Some(value),
                "RoutePath" => route.path = Some(value),
                _ => {}
            }
        }
        if route.listener.is_some() || route.host.is_some() || route.path.is_some() {
            marker.route = Some(route);
        }
        (!marker.service.is_empty() && marker.instance > 0).then_some(marker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_as_it_was_written() {
        let full = Marker {
            service: "api".into(),
            instance: 2,
            cluster: Some("api".into()),
            endpoint: Some("127.0.0.1:3001".into()),
            route: Some(ClusterRoute {
                listener: None,
                host: Some("a=b".into()),
                path: Some("~^/x=1".into()),
            }),
        };
        let bare = Marker { service: "job".into(), instance: 1, ..Marker::default() };
        for marker in [full, bare] {
            let text = format!("[Service]\nExecStart=/bin/true\n\n{}", marker.to_text());
            assert_eq!(Marker::read(&text), Some(marker));
        }
        assert_eq!(Marker::read("[Service]\nExecStart=/bin/true\n"), None);
        assert_eq!(Marker::read("[X-Bs9]\nService=api\n"), None);
    }
}
