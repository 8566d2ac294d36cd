//! A service as flags describe it, on its way to a file.

use std::path::PathBuf;

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

/// What `bs9 start FILE …` says. What is absent is left to the default, and out
/// of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceDraft {
    /// See the key of this name in `services/NAME.toml`; so for each of them.
    pub description: Option<String>,
    /// A program and its arguments.
    pub command: Vec<String>,
    /// Instead of a command.
    pub script: Option<PathBuf>,
    /// What runs the script.
    pub interpreter: Option<String>,
    /// What follows the script.
    pub arguments: Vec<String>,
    /// Where it is run.
    pub working_folder: Option<PathBuf>,
    /// Names and values.
    pub environment: Vec<(String, String)>,
    /// Files of `NAME=value` lines.
    pub environment_files: Vec<PathBuf>,
    /// The first instance's port.
    pub port: Option<u16>,
    /// An IP address.
    pub host: Option<String>,
    /// A number, or `max`.
    pub instances: Option<String>,
    /// `user` or `system`.
    pub scope: Option<&'static str>,
    /// The user of a system service.
    pub user: Option<String>,
    /// Where traces go.
    pub otel_endpoint: Option<String>,
    /// A compiler, or `auto`.
    pub build: Option<String>,
    /// `watch.paths`.
    pub watch: Vec<PathBuf>,
    /// `watch.ignore`.
    pub watch_ignore: Vec<String>,
    /// `restart.policy`.
    pub restart: Option<String>,
    /// `restart.delay`, a duration.
    pub restart_delay: Option<String>,
    /// `limits.memory_max`, a size.
    pub memory_max: Option<String>,
    /// `limits.cpu`, cores.
    pub cpu: Option<f64>,
    /// `limits.tasks`.
    pub tasks: Option<u32>,
    /// `ready.notify`.
    pub notify: bool,
    /// `ready.path`.
    pub ready_path: Option<String>,
    /// `ready.timeout`, a duration.
    pub ready_timeout: Option<String>,
    /// `proxy.listener`.
    pub listener: Option<String>,
    /// `proxy.host`.
    pub route_host: Option<String>,
    /// `proxy.path`.
    pub route_path: Option<String>,
    /// `proxy.health_check.path`.
    pub health_path: Option<String>,
    /// `hardening.relax`.
    pub relax: Vec<String>,
    /// `hardening.writable`.
    pub writable: Vec<PathBuf>,
}

impl ServiceDraft {
    /// The text of its file. Whether it is valid is for
    /// [`parse_service`](crate::parse_service) to say.
    pub fn to_toml(&self) -> String {
        let mut top = DocumentMut::new();
        let table = top.as_table_mut();
        set(table, "description", self.description.as_deref());
        set_list(table, "command", &self.command);
        set(table, "script", shown(self.script.as_ref()));
        set(table, "interpreter", self.interpreter.as_deref());
        set_list(table, "arguments", &self.arguments);
        set(table, "working_folder", shown(self.working_folder.as_ref()));
        set_list(table, "environment_files", &paths(&self.environment_files));
        set(table, "port", self.port.map(i64::from));
        set(table, "host", self.host.as_deref());
        match self.instances.as_deref().map(|text| (text, text.parse::<i64>())) {
            Some((_, Ok(number))) => set(table, "instances", Some(number)),
            Some((word, Err(_))) => set(table, "instances", Some(word)),
            None => {}
        }
        set(table, "scope", self.scope);
        set(table, "user", self.user.as_deref());
        set(table, "otel_endpoint", self.otel_endpoint.as_deref());
        set(table, "build", self.build.as_deref());
        section(&mut top, "environment", |table| {
            for (name, value) in &self.environment {
                set(table, name, Some(value.as_str()));
            }
        });
        section(&mut top, "restart", |table| {
            set(table, "policy", self.restart.as_deref());
            set(table, "delay", self.restart_delay.as_deref());
        });
        section(&mut top, "limits", |table| {
            set(table, "memory_max", self.memory_max.as_deref());
            set(table, "cpu", self.cpu);
            set(table, "tasks", self.tasks.map(i64::from));
        });
        section(&mut top, "ready", |table| {
            set(table, "notify", self.notify.then_some(true));
            set(table, "path", self.ready_path.as_deref());
            set(table, "timeout", self.ready_timeout.as_deref());
        });
        section(&mut top, "watch", |table| {
            set_list(table, "paths", &paths(&self.watch));
            set_list(table, "ignore", &self.watch_ignore);
        });
        section(&mut top, "proxy", |table| {
            set(table, "listener", self.listener.as_deref());
            set(table, "host", self.route_host.as_deref());
            set(table, "path", self.route_path.as_deref());
            if let Some(path) = &self.health_path {
                let mut check = toml_edit::InlineTable::new();
                check.insert("path", Value::from(path.as_str()));
                set(table, "health_check", Some(check));
            }
        });
        section(&mut top, "hardening", |table| {
            set_list(table, "relax", &self.relax);
            set_list(table, "writable", &paths(&self.writable));
        });
        top.to_string()
    }
}

fn shown(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| path.to_string_lossy().into_owned())
}

fn paths(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
}

fn set<V: Into<Value>>(table: &mut Table, name: &str, new: Option<V>) {
    if let Some(new) = new {
        table.insert(name, value(new));
    }
}

fn set_list(table: &mut Table, name: &str, entries: &[String]) {
    if !entries.is_empty() {
        let list: Array = entries.iter().map(String::as_str).collect();
        table.insert(name, value(list));
    }
}

/// Adds a table unless it stays empty.
fn section(top: &mut DocumentMut, name: &str, fill: impl FnOnce(&mut Table)) {
    let mut table = Table::new();
    fill(&mut table);
    if !table.is_empty() {
        top.insert(name, Item::Table(table));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::{Compiler, Instances, Relaxation, Run, parse_service};

    #[test]
    fn what_flags_say_is_what_is_read() {
        let draft = ServiceDraft {
            script: Some("/srv/api/server.ts".into()),
            arguments: vec!["--verbose".into()],
            environment: vec![("GREETING".into(), "a \"b\" = $c".into())],
            port: Some(3000),
            instances: Some("max".into()),
            memory_max: Some("256MiB".into()),
            ready_path: Some("/healthz".into()),
            route_host: Some("api.example.com".into()),
            health_path: Some("/healthz".into()),
            relax: vec!["tmp".into()],
            writable: vec!["/srv/api/uploads".into()],
            build: Some("esbuild".into()),
            watch: vec!["/srv/api/src".into()],
            watch_ignore: vec!["*.md".into()],
            ..ServiceDraft::default()
        };
        let service = parse_service(Path::new("/etc/api.toml"), &draft.to_toml()).unwrap();
        assert_eq!(&*service.name, "api");
        assert_eq!(service.working_folder, Path::new("/srv/api"));
        let Run::Script { script, arguments, .. } = &service.run else { panic!("{service:?}") };
        assert_eq!((script.as_path(), arguments.len()), (Path::new("/srv/api/server.ts"), 1));
        assert_eq!(service.environment["GREETING"].reveal(), "a \"b\" = $c");
        assert_eq!(service.instances, Instances::Max);
        assert_eq!(service.limits.memory_max, Some(256 << 20));
        assert_eq!(service.proxy.host.as_deref(), Some("api.example.com"));
        assert_eq!(service.hardening.relax, [Relaxation::Tmp]);
        assert!(service.proxy.is_routed());
        assert_eq!(service.build, Some(Compiler::Esbuild));
        let watch = service.watch.unwrap();
        assert_eq!((watch.paths.len(), watch.ignore), (1, vec!["*.md".to_owned()]));
    }

    proptest! {
        #[test]
        fn any_argument_survives(words in prop::collection::vec("[^\\p{Cc}]{1,20}", 1..5)) {
            let draft = ServiceDraft { command: words.clone(), ..ServiceDraft::default() };
            let service = parse_service(Path::new("/s/any.toml"), &draft.to_toml()).unwrap();
            prop_assert_eq!(service.run, Run::Command(words));
        }
    }
}
