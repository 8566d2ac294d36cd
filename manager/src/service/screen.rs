//! The audit of its source, between a service and its start.

use bs9_api::types::{SourceAudit, SourceFinding, SourceSeverity};
use bs9_config::Service;

use super::{ServiceError, Services, change::Report};
use crate::{
    build::{Builds, Trial, compile},
    source::{self, Accepted},
};

/// Whether somebody insists on a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Insist {
    No,
    /// `--force`.
    Yes,
}

/// A service that may be started. Unless that is found to have gone well, an earlier build is
/// the current one again.
#[must_use]
pub(super) struct Prepared(Option<Trial>);

impl Prepared {
    /// It runs.
    pub(super) fn keep(self) {
        self.0.into_iter().for_each(Trial::keep);
    }
}

impl From<bool> for Insist {
    fn from(force: bool) -> Self {
        if force { Self::Yes } else { Self::No }
    }
}

impl Services {
    /// What the audit of a service's source finds.
    pub(crate) async fn audit_source(&self, service: &str) -> Result<SourceAudit, ServiceError> {
        let text = self.book.text(service)?.ok_or_else(|| self.book.unknown(service))?;
        let described = self.book.get(service)?;
        Ok(self.examine(&described, Some(text)).await)
    }

    /// Lets a service through unless its source keeps it from being started. Whoever insists
    /// accepts what was found, and the answer, which goes into the audit log, names it. What has
    /// to be compiled is; whoever starts it says whether that went well ([`Prepared::keep`]).
    pub(super) async fn screen(
        &self,
        service: &Service,
        insist: Insist,
        report: &mut Report,
    ) -> Result<Prepared, ServiceError> {
        let audit = self.examine(service, self.book.text(&service.name)?).await;
        let blocking: Vec<SourceFinding> =
            audit.findings.iter().filter(|finding| source::blocks(finding)).cloned().collect();
        let warnings =
            audit.findings.iter().filter(|f| f.severity == SourceSeverity::Warning).count();
        if !blocking.is_empty() {
            if insist == Insist::No {
                return Err(ServiceError::Unsafe {
                    service: service.name.to_string(),
                    findings: blocking,
                });
            }
            for finding in &blocking {
                report.warn(format!(
                    "forced in spite of {} at {}: {}",
                    finding.rule,
                    source::Where(finding),
                    finding.message
                ));
            }
            let accepted = Accepted::load(&self.state_folder, &service.name).add(&blocking);
            accepted.save(&self.state_folder, &service.name).map_err(|source| {
                ServiceError::Write { path: self.state_folder.join("accepted"), source }
            })?;
        }
        if warnings > 0 {
            report.warn(format!(
                "the audit of its source has {warnings} warning{}; `bs9 doctor {}` shows {}",
                if warnings == 1 { "" } else { "s" },
                service.name,
                if warnings == 1 { "it" } else { "them" },
            ));
        }
        self.remember_source(service).await?;
        self.build(service, report).await
    }

    /// Compiles what is to be compiled.
    async fn build(
        &self,
        service: &Service,
        report: &mut Report,
    ) -> Result<Prepared, ServiceError> {
        let around = self.around_offline(service.scope);
        let Some(build) = compile(service, &around).await? else { return Ok(Prepared(None)) };
        let builds = Builds::of(&self.state_folder, &service.name);
        let failed = |source| ServiceError::Write { path: builds.folder().to_owned(), source };
        let trial = builds.try_out(&build).map_err(failed)?;
        let status = &build.status;
        report.step(format!(
            "built by {} {} in {:.1} s: {}",
            status.compiler,
            status.version.as_deref().unwrap_or("(of unknown version)"),
            status.seconds,
            builds.folder().join(status.number.to_string()).display()
        ));
        let units: Vec<String> =
            self.deployed(&service.name)?.into_iter().map(|unit| unit.text).collect();
        builds.prune(&units);
        Ok(Prepared(Some(trial)))
    }

    /// Forgets what is kept about the source of a service that is no more.
    pub(super) fn forget_source(&self, service: &str, report: &mut Report) {
        let forgotten = Accepted::forget(&self.state_folder, service)
            .and_then(|()| self.forget_watch(service))
            .and_then(|()| Builds::of(&self.state_folder, service).forget());
        if let Err(error) = forgotten {
            report.warn(format!("what was kept about its source is still there: {error}"));
        }
    }

    async fn examine(&self, service: &Service, definition: Option<String>) -> SourceAudit {
        let around = self.around_offline(service.scope);
        let accepted = Accepted::load(&self.state_folder, &service.name);
        let (service, path) = (service.clone(), self.book.path(&service.name));
        let name = service.name.to_string();
        let work = move || {
            let definition = definition.as_deref().map(|text| (path.as_path(), text));
            source::examine(&service, definition, &around, &accepted)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            // A defect must not let anything through.
            tracing::error!(service = name, %error, "the audit did not finish");
            SourceAudit {
                schema: bs9_api::types::SCHEMA,
                service: name,
                startable: false,
                findings: vec![SourceFinding {
                    rule: "audit-did-not-finish".to_owned(),
                    severity: SourceSeverity::Blocking,
                    file: String::new(),
                    line: None,
                    column: None,
                    message: "the audit of the source did not finish, which is a defect of bs9"
                        .to_owned(),
                    hint: "look at the manager's log, and report it".to_owned(),
                    accepted: false,
                }],
                files: Vec::new(),
                left_out: Vec::new(),
            }
        })
    }
}
