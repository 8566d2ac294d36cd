//! bs9 and its peers: what they are called, where they are, which version.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// A program that takes part in comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Bs9,
    /// bs9 with one shard, where it is compared with itself.
    Bs9OneShard,
    Nginx,
    Haproxy,
    Pingora,
    Caddy,
    Varnish,
    Pgbouncer,
    /// One that Debian has not yet, where the user names it.
    NewerPgbouncer,
    /// A load generator, where `bs9 loadtest` is compared with it.
    Wrk,
    /// Another one.
    H2load,
}

/// A contender that can run here.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) contender: Contender,
    pub(crate) program: PathBuf,
    pub(crate) version: String,
}

impl Contender {
    pub(crate) const ALL: [Self; 11] = [
        Self::Bs9,
        Self::Bs9OneShard,
        Self::Nginx,
        Self::Haproxy,
        Self::Pingora,
        Self::Caddy,
        Self::Varnish,
        Self::Pgbouncer,
        Self::NewerPgbouncer,
        Self::Wrk,
        Self::H2load,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bs9 => "bs9",
            Self::Bs9OneShard => "bs9-one-shard",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Pingora => "pingora",
            Self::Caddy => "caddy",
            Self::Varnish => "varnish",
            Self::Pgbouncer => "pgbouncer",
            Self::NewerPgbouncer => "pgbouncer-newer",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    /// Whether it is a PgBouncer, of whatever version.
    pub(crate) fn is_pgbouncer(self) -> bool {
        matches!(self, Self::Pgbouncer | Self::NewerPgbouncer)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }

    /// The argument that makes it print its version.
    fn version_argument(self) -> &'static str {
        match self {
            Self::Nginx | Self::Haproxy | Self::Wrk => "-v",
            Self::Varnish => "-V",
            Self::Caddy => "version",
            Self::Bs9
            | Self::Bs9OneShard
            | Self::Pingora
            | Self::Pgbouncer
            | Self::NewerPgbouncer
            | Self::H2load => "--version",
        }
    }

    fn default_program(self) -> anyhow::Result<PathBuf> {
        match self {
            // The same profile's build of bs9 lies beside this program.
            Self::Bs9 | Self::Bs9OneShard => {
                let own = std::env::current_exe().context("finding the path of this program")?;
                Ok(own.with_file_name("bs9"))
            }
            Self::Varnish => find_program("varnishd"),
            Self::Pingora => Ok(Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("pingora/target/release/bs9-bench-pingora")),
            Self::NewerPgbouncer => bail!("only measured where PGBOUNCER= names its program"),
            Self::Nginx
            | Self::Haproxy
            | Self::Caddy
            | Self::Pgbouncer
            | Self::Wrk
            | Self::H2load => find_program(self.name()),
        }
    }
}

// === impl Installed ===

impl Installed {
    /// Looks for the program of `contender`, at `chosen` if given.
    pub(crate) fn find(contender: Contender, chosen: Option<&Path>) -> anyhow::Result<Self> {
        let program = match chosen {
            Some(path) => path.to_owned(),
            None => contender.default_program()?,
        };
        let version = version_of(&program, contender.version_argument())?;
        Ok(Self { contender, program, version })
    }

    /// Whether its major and minor version are these or later.
    pub(crate) fn is_since(&self, version: (u32, u32)) -> bool {
        self.generation().is_some_and(|generation| generation >= version)
    }

    fn generation(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// Looks a program up on the path, and in the folders of services.
pub(crate) fn find_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let services = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(services)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("no program {name:?} on the path (make bench installs it)"))
}

/// Asks a program for its version. The exit status says nothing: some fail.
pub(crate) fn version_of(program: &Path, argument: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("running {} {argument}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    match first_version(&text) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("{} {argument} named no version", program.display()),
    }
}

/// The first word that starts with a digit: `nginx/1.22.1`, `HAProxy version 2.6.12-1`,
/// `(varnish-7.1.1 revision …)`.
fn first_version(text: &str) -> Option<&str> {
    text.split(|c: char| c.is_whitespace() || c == '/')
        .map(|word| word.trim_start_matches("(varnish-").trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, version) in [
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/01/01 - https://x\n", "2.6.12-1+deb12u4"),
            ("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n", "1.18.0"),
            ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012\n", "4.1.0-3+b2"),
            ("varnishd (varnish-7.1.1 revision 7cee1c5)\nCopyright\n", "7.1.1"),
            ("v2.11.2 h1:abc=\n", "2.11.2"),
            ("pgbench (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", "15.18"),
        ] {
            assert_eq!(first_version(text), Some(version), "{text}");
        }
        assert_eq!(first_version("usage: 7 words"), None);
    }

    #[test]
    fn a_generation_is_major_and_minor() {
        let installed = |version: &str| Installed {
            contender: Contender::Pgbouncer,
            program: PathBuf::new(),
            version: version.into(),
        };
        assert_eq!(installed("1.18.0").generation(), Some((1, 18)));
        assert_eq!(installed("1.25.2-1+deb13").generation(), Some((1, 25)));
        assert_eq!(installed("2").generation(), None);
    }
}
