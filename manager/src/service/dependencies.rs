//! What there is to know about who needs whom, gathered from where it is.

use std::{collections::BTreeMap, path::Path};

use bs9_api::types::{Dependencies, DependencyQuery, RoutesQuery, Unavailable};

use super::{ServiceError, Services};
use crate::{
    collect::{Hierarchy, pids},
    dependency::{self, Known, KnownDataPlane, KnownService},
};

const CGROUPS: &str = "/sys/fs/cgroup";
const PROC: &str = "/proc";
/// Directives of relations that count (systemd.unit(5)).
const RELATIONS: [&str; 5] = ["Requires", "Requisite", "BindsTo", "Wants", "After"];

impl Services {
    /// What depends on what, around one service or as a whole.
    pub(crate) async fn dependencies(
        &self,
        asked: &DependencyQuery,
    ) -> Result<Dependencies, ServiceError> {
        if let Some(service) = &asked.service {
            // A name that nobody has is an error, not an empty answer.
            self.one(service).await?;
        }
        let mut known = Known::default();
        let all = self.all().await?;
        known.unavailable.extend(
            all.unavailable.map(|reason| Unavailable { what: "systemd".to_owned(), reason }),
        );
        for status in all.services {
            known.services.push(self.known_service(status).await?);
        }
        match self.wiring.known().await {
            Ok(data_plane) => known.data_plane = data_plane,
            Err(error) => known.unavailable.push(Unavailable {
                what: "routes and pools".to_owned(),
                reason: error.to_string(),
            }),
        }
        let center = asked.service.clone();
        let work = move || dependency::resolve(known, center.as_deref(), Path::new(PROC));
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            ServiceError::Away(format!("dependencies could not be put together: {error}"))
        })
    }

    async fn known_service(
        &self,
        status: bs9_api::types::ServiceStatus,
    ) -> Result<KnownService, ServiceError> {
        let hierarchy = Hierarchy::detect(Path::new(CGROUPS));
        let mut relations = Vec::new();
        let mut processes = Vec::new();
        for unit in self.deployed(&status.name)? {
            // A systemd that does not answer was told of already.
            let Ok(state) = self.systemd(unit.scope).state(&unit.unit).await else { continue };
            for directive in RELATIONS {
                relations.extend(state.names(directive).into_iter().map(|name| (directive, name)));
            }
            let group = state.word("ControlGroup").trim_start_matches('/');
            if let Some(tree) = hierarchy.tree().filter(|_| !group.is_empty()) {
                processes.extend(pids(&tree.join(group)));
            }
        }
        relations.sort();
        relations.dedup();
        let mut environment = BTreeMap::new();
        if let Ok(Some(described)) = self.book.read(&status.name) {
            for (name, value) in &described.environment {
                environment.insert(name.to_string(), value.reveal().to_owned());
            }
            // As systemd reads them, files win.
            environment.extend(dependency::environment_of(&described.environment_files));
        }
        Ok(KnownService {
            status,
            pids: processes,
            relations,
            environment: environment.into_iter().collect(),
        })
    }
}

impl super::wiring::Wiring {
    /// What the data plane routes and pools.
    async fn known(&self) -> Result<KnownDataPlane, super::wiring::NotWired> {
        let client = self.client();
        let status = client.status().await?;
        Ok(KnownDataPlane {
            pid: Some(status.pid),
            listeners: status.listeners,
            clusters: status.clusters,
            pools: status.pools,
            routes: client.routes(&RoutesQuery::default()).await?.listeners,
            servers: client.pool_servers().await?.servers,
        })
    }
}
