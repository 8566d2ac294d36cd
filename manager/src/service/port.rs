//! Ports that a service may not take, and what to do about it.

use std::{
    fs, io,
    net::{IpAddr, TcpListener},
};

use bs9_config::{Relaxation, Service, ServiceScope};

use super::ServiceError;

/// The kernel's default for the first port that anybody may take.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Whether the service may take its ports at all.
pub(super) fn check_privilege(service: &Service) -> Result<(), ServiceError> {
    let Some(port) = service.port.filter(|port| *port < first_unprivileged()) else {
        return Ok(());
    };
    let allowed = service.scope == ServiceScope::System
        && (service.hardening.relax.contains(&Relaxation::LowPorts)
            || service.hardening.relax.contains(&Relaxation::Everything)
            || service.hardening.relax.contains(&Relaxation::Privileges));
    match allowed {
        true => Ok(()),
        false => Err(ServiceError::Refused(low_port(service, port))),
    }
}

fn low_port(service: &Service, port: u16) -> String {
    let first = first_unprivileged();
    let own = match service.scope {
        ServiceScope::User => {
            "or make it a system service (scope = \"system\") with hardening.relax = [\"low-ports\"]"
        }
        ServiceScope::System => "or add hardening.relax = [\"low-ports\"]",
    };
    format!(
        "port {port} is below {first}, which needs a privilege the service does not have. Best: give \
         it a port from {first} on and let a listener of the data plane take {port} and route to it \
         (proxy.host, proxy.path); {own}; or lower net.ipv4.ip_unprivileged_port_start for everybody"
    )
}

fn first_unprivileged() -> u16 {
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(FIRST_UNPRIVILEGED)
}

/// Whether nobody has the port yet. Between this and the start somebody may take it;
/// then the service says so itself.
pub(super) fn check_free(host: IpAddr, port: u16) -> Result<(), ServiceError> {
    match TcpListener::bind((host, port)) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(ServiceError::Refused(format!(
                "port {port} on {host} is taken by another process (`ss -ltnp` shows which); choose \
                 another `port`, or stop that one"
            )))
        }
        // Anything else is for the service to find out, in its own namespace.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bs9_config::parse_service;

    use super::*;

    #[test]
    fn a_low_port_is_explained() {
        if first_unprivileged() <= 80 {
            // This machine lets everybody take it.
            return;
        }
        let check =
            |text: &str| check_privilege(&parse_service(Path::new("/a/api.toml"), text).unwrap());
        let said = check("command = [\"x\"]\nport = 80").unwrap_err().to_string();
        assert!(said.contains("route to it") && said.contains("low-ports"), "{said}");
        assert!(check("command = [\"x\"]\nport = 8000").is_ok());
        assert!(check("command = [\"x\"]\nport = 80\nscope = \"system\"\nhardening.relax = [\"low-ports\"]").is_ok());
        assert!(check("command = [\"x\"]\nport = 80\nscope = \"system\"").is_err());
    }

    #[test]
    fn a_port_that_is_taken_is_found_before_the_start() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert!(check_free(address.ip(), address.port()).is_err());
        drop(taken);
        assert!(check_free(address.ip(), address.port()).is_ok());
    }
}
