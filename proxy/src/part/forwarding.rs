//! What TCP and UDP listeners do.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bs9_config::{TcpListener, UdpListener};
use bs9_net::{CompileError, tls::ServerNames};

use super::ProxyPart;
use crate::{access_log::AccessLog, udp::UdpStats};

/// What a TCP listener does.
pub(crate) struct TcpSite {
    /// Clusters by the name a client asks for; empty: nobody is asked.
    pub(crate) sni: ServerNames<usize>,
    /// Where everything else goes.
    pub(crate) cluster: Option<usize>,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) connect_attempts: u32,
    pub(crate) access_log: Option<Arc<AccessLog>>,
}

/// What a UDP listener does.
pub(crate) struct UdpSite {
    pub(crate) cluster: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_responses: Option<NonZeroU32>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    pub(crate) stats: Arc<UdpStats>,
}

impl ProxyPart {
    pub(super) fn tcp_site(
        &self,
        listener: &str,
        tcp: &TcpListener,
        access_log: Option<Arc<AccessLog>>,
    ) -> Result<TcpSite, CompileError> {
        let key = || format!("listeners.{listener}.cluster");
        let mut sni = ServerNames::default();
        for (number, route) in tcp.sni.iter().enumerate() {
            let key = || format!("listeners.{listener}.sni[{number}].cluster");
            let cluster = self.index_of(&route.cluster, key)?;
            for name in &route.names {
                sni.entry_or(name, || cluster);
            }
        }
        let cluster = tcp.cluster.as_ref().map(|cluster| self.index_of(cluster, key));
        Ok(TcpSite {
            sni,
            cluster: cluster.transpose()?,
            idle_timeout: tcp.idle_timeout,
            max_lifetime: tcp.max_lifetime,
            connect_attempts: tcp.connect_attempts,
            access_log,
        })
    }

    pub(super) fn udp_site(
        &self,
        listener: &str,
        udp: &UdpListener,
        access_log: Option<Arc<AccessLog>>,
        stats: Arc<UdpStats>,
    ) -> Result<UdpSite, CompileError> {
        let key = || format!("listeners.{listener}.cluster");
        Ok(UdpSite {
            cluster: self.index_of(&udp.cluster, key)?,
            idle_timeout: udp.idle_timeout,
            max_responses: udp.max_responses,
            access_log,
            stats,
        })
    }
}
