//! Scenario files: a target, stages of load, a mix of requests, and what has to be kept.
//!
//! A file is read whole: every mistake in it becomes a [`Finding`], with its place and what to do
//! about it. What can be read becomes a [`Scenario`], and that a [`Plan`].

use std::{cell::RefCell, fs, path::Path, sync::Arc};

use toml_edit::Document;

mod call;
mod check;
mod document;
mod feeds;
mod finding;
mod load;
mod root;
mod scope;

use finding::{Fault, Findings};
pub use finding::{Finding, ScenarioError};
use root::Root;
use scope::Scope;

use crate::{
    checks::Checks,
    feed::Feed,
    http::{Call, Request, RequestError},
    mix::{Entry, Mix},
    plan::{HttpOptions, Load, Options, Plan, PlanError, Stage},
    postgres::Identity,
    target::{Service, Target},
    template::{Context, Template},
    workload::{self, Workload},
};

/// Largest scenario file, in bytes.
pub const MAX_SCENARIO_BYTES: u64 = 1 << 20;
/// Most requests of a mix.
pub const MAX_REQUESTS: usize = 100;
/// Most stages.
pub const MAX_STAGES: usize = 100;

/// A scenario file that makes sense.
#[derive(Debug)]
pub struct Scenario {
    /// Where the load goes.
    target: Target,
    /// How, as on the command line; what the file leaves out may be set.
    pub options: Options,
    load: Load,
    stages: Vec<Stage>,
    requests: Vec<MixRequest>,
    feeds: Arc<[Feed]>,
}

/// A request of the mix.
#[derive(Debug)]
struct MixRequest {
    entry: Entry,
    content: Content,
}

/// What a request says, by protocol.
#[derive(Debug)]
enum Content {
    Http {
        path: String,
        options: HttpOptions,
        checks: Checks,
    },
    Query(String),
    /// What the target and the options alone come to: a payload, or the usual query.
    OfTarget,
}

// === impl Scenario ===

impl Scenario {
    /// Reads a file. `target` takes the place of the one in it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(file: &Path, target: Option<Target>) -> Result<Self, ScenarioError> {
        let mut findings = Findings::default();
        let text = match read_bounded(file) {
            Ok(text) => text,
            Err(what) => {
                findings.push(0..0, "", Fault::new(what));
                return Err(findings.into_error(file, ""));
            }
        };
        let Some(readable) = document::readable(&text, &mut findings) else {
            return Err(findings.into_error(file, &text));
        };
        let whole = findings.is_empty();
        let findings = RefCell::new(findings);
        let scenario = Document::parse(readable.as_ref()).ok().and_then(|document| {
            let folder = file.parent().unwrap_or(Path::new(""));
            let root = Root { folder, target, whole };
            root.read(&Scope::root(document.as_table(), &findings))
        });
        let findings = findings.into_inner();
        match scenario {
            Some(scenario) if findings.is_empty() => Ok(scenario),
            _ => Err(findings.into_error(file, &text)),
        }
    }

    /// Where the load goes.
    pub fn target(&mut self) -> &mut Target {
        &mut self.target
    }

    /// What it comes to.
    ///
    /// # Errors
    /// When the options that were set since make no sense with it.
    pub fn plan(self) -> Result<Plan, PlanError> {
        let Self { target, options, load, stages, requests, feeds } = self;
        let (mut calls, mut queries, mut entries) = (Vec::new(), Vec::new(), Vec::new());
        for MixRequest { entry, content } in requests {
            entries.push(entry);
            match content {
                Content::OfTarget => {}
                Content::Query(query) => {
                    let query = Template::new(query.as_bytes(), Context::Query, &feeds);
                    queries.push(query.map_err(RequestError::Place)?);
                }
                Content::Http { path, options: http, checks } => {
                    let authority = target.authority();
                    let keep_alive = options.keep_alive;
                    let request =
                        Request::with_places(&authority, &path, &http, keep_alive, &feeds)?;
                    calls.push(Call { request, checks });
                }
            }
        }
        let workload = match &target.service {
            Service::Http { .. } if !calls.is_empty() => {
                Some(Workload::http(&target, &options, calls, feeds)?)
            }
            Service::Postgres { user, password, database, encryption } if !queries.is_empty() => {
                let identity = Identity::new(user.clone(), password.clone(), database.clone());
                let postgres = workload::queries(identity, &options, &queries, feeds);
                Some(Workload::postgres(&target, &options, *encryption, postgres)?)
            }
            _ => None,
        };
        let mix = Mix::new(entries);
        let mut plan = Plan::new(target, options)?.with_load(load, stages, mix);
        if let Some(workload) = workload {
            plan.workload = workload;
        }
        Ok(plan)
    }
}

fn read_bounded(file: &Path) -> Result<String, String> {
    let unreadable = |error| format!("cannot read {}: {error}", file.display());
    if fs::metadata(file).map_err(unreadable)?.len() > MAX_SCENARIO_BYTES {
        return Err(format!("{} is longer than 1 MiB", file.display()));
    }
    fs::read_to_string(file).map_err(unreadable)
}

#[cfg(test)]
mod tests;
