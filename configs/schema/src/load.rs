//! The ways in: from a path or from text.

use std::path::{Path, PathBuf};

use crate::{
    model::{Config, ManagerConfig, Service},
    raw::{self, Node, Value},
    read::{At, Format, Reader, Scope, table},
    report::{Finding, Findings, Report},
    sections,
    source::{self, Source, Spot},
};

/// What reading a configuration came to.
#[derive(Debug, Clone)]
pub struct Checked<C> {
    /// The configuration, unless the report holds an error.
    pub config: Option<C>,
    /// Errors and warnings.
    pub report: Report,
}

impl<C> Checked<C> {
    fn into_result(self) -> Result<C, Report> {
        self.config.ok_or(self.report)
    }
}

/// Reads a data plane's configuration: a file, or the `*.toml` of a folder,
/// merged in name order. At most 16 MiB.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Config, Report> {
    check(path).into_result()
}

/// Like [`load`], warnings included.
pub fn check(path: &Path) -> Checked<Config> {
    let mut findings = Findings::default();
    let sources = source::read(path, &mut findings);
    let mut checked = read_config(&sources, findings);
    if let Some(config) = &mut checked.config {
        config.sources = paths(&sources);
    }
    checked
}

/// Reads a data plane's configuration from text. `name` stands for its path: in
/// messages, and for relative paths.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn parse_str(name: &str, text: &str) -> Result<Config, Report> {
    let (sources, findings) = one_source(name, text);
    read_config(&sources, findings).into_result()
}

/// Reads a manager's configuration, by the rules of [`load`].
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load_manager(path: &Path) -> Result<ManagerConfig, Report> {
    check_manager(path).into_result()
}

/// Like [`load_manager`], warnings included.
pub fn check_manager(path: &Path) -> Checked<ManagerConfig> {
    let mut findings = Findings::default();
    let sources = source::read(path, &mut findings);
    let mut checked = read_manager(&sources, findings);
    if let Some(config) = &mut checked.config {
        config.sources = paths(&sources);
    }
    checked
}

/// Reads a manager's configuration from text, by the rules of [`parse_str`].
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn parse_manager_str(name: &str, text: &str) -> Result<ManagerConfig, Report> {
    let (sources, findings) = one_source(name, text);
    read_manager(&sources, findings).into_result()
}

/// Reads `services/NAME.toml`, by the rules of [`load`]; the service is named as
/// the file.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load_service(path: &Path) -> Result<Service, Report> {
    check_service(path).into_result()
}

/// Like [`load_service`], warnings included.
pub fn check_service(path: &Path) -> Checked<Service> {
    let mut findings = Findings::default();
    let sources = source::read(path, &mut findings);
    read_service(path, &sources, findings)
}

/// Reads a service from text, by the rules of [`parse_str`]; `path` is where the
/// text stands, or would.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn parse_service(path: &Path, text: &str) -> Result<Service, Report> {
    let (sources, findings) = one_source(&path.to_string_lossy(), text);
    read_service(path, &sources, findings).into_result()
}

fn read_service(path: &Path, sources: &[Source], mut findings: Findings) -> Checked<Service> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if let Err(fault) = sections::check_service_name(name) {
        findings.push(Finding::error(fault.message).file(path).maybe_hint(fault.hint));
    }
    let mut checked = read(sources, findings, sections::service);
    if let Some(service) = &mut checked.config {
        service.name = name.into();
    }
    checked
}

/// Reads sources that are already in memory.
pub(crate) fn read_config(sources: &[Source], findings: Findings) -> Checked<Config> {
    read(sources, findings, sections::config)
}

fn read_manager(sources: &[Source], findings: Findings) -> Checked<ManagerConfig> {
    read(sources, findings, sections::manager)
}

/// Where the sources are, whatever folder this process is in later.
fn paths(sources: &[Source]) -> Vec<PathBuf> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    sources.iter().map(|source| absolute(&source.path)).collect()
}

fn read<C>(
    sources: &[Source],
    mut findings: Findings,
    section: fn(&mut Scope<'_>) -> Option<C>,
) -> Checked<C> {
    let (root, coverage) = raw::tree(sources, &mut findings);
    let reader = Reader::new(sources, &root, coverage, findings);
    let start = Spot { file: 0, start: 0, end: 0 };
    let node = Node { spot: start, value: Value::Table(root) };
    let config = table(section).read(At { node: &node, path: "" }, &reader);
    let findings = reader.into_findings();
    let config = config.filter(|_| !findings.has_errors());
    Checked { config, report: findings.into_report(sources) }
}

fn one_source(name: &str, text: &str) -> (Vec<Source>, Findings) {
    let mut findings = Findings::default();
    if text.len() as u64 > source::MAX_BYTES {
        let message =
            format!("{name} is larger than {}", crate::unit::format_size(source::MAX_BYTES));
        findings.push(Finding::error(message).file(Path::new(name)));
        return (Vec::new(), findings);
    }
    (vec![Source::new(name, text)], findings)
}
