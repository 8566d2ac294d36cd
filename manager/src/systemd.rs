//! systemd over D-Bus: jobs that are waited for, and what it knows of a unit.
//!
//! A start is a job: the signal of its end is subscribed to before it is asked
//! for, and what it came to is read again afterwards, because a job that is `done`
//! may have done nothing.

use std::{collections::HashMap, fmt, num::NonZeroUsize, path::PathBuf, time::Duration};

use bs9_config::ServiceScope;
use futures_util::StreamExt as _;
use tokio::sync::Mutex;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant, connection, message};

mod interface;
mod state;

use interface::{LoginProxy, ManagerProxy, PropertiesProxy};
pub(crate) use state::UnitState;

/// One D-Bus call.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// One job beyond what the unit itself allows for; systemd's own limits come first.
const JOB_LIMIT: Duration = Duration::from_secs(3_700);

/// Where units are, as objects.
const UNITS: &str = "/org/freedesktop/systemd1/unit";
/// Changes that wait to be looked at.
const CHANGES_QUEUED: NonZeroUsize = NonZeroUsize::new(1_024).expect("it is not 0");

/// Why systemd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SystemdError {
    /// There is nobody to ask.
    #[error("the {scope} systemd cannot be reached: {reason}")]
    Unreachable { scope: &'static str, reason: String },
    /// It said no.
    #[error("systemd refused to {what}: {reason}")]
    Refused { what: String, reason: String },
    /// A job ended otherwise than done.
    #[error("{verb} {unit}: {}", job_result(.result))]
    Job { verb: Verb, unit: String, result: String },
    /// It did not answer.
    #[error("systemd did not {what} within {} s", .limit.as_secs())]
    Timeout { what: String, limit: Duration },
}

/// What can be asked of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        })
    }
}

/// A job's result in words; systemd's own are those of org.freedesktop.systemd1(5).
fn job_result(result: &str) -> String {
    match result {
        "failed" => "it failed".to_owned(),
        "timeout" => "it took too long".to_owned(),
        "canceled" => "another job came in between".to_owned(),
        "dependency" => "something it needs failed".to_owned(),
        other => format!("it ended as `{other}`"),
    }
}

pub(crate) fn scope_word(scope: ServiceScope) -> &'static str {
    match scope {
        ServiceScope::User => "user",
        ServiceScope::System => "system",
    }
}

/// One systemd: the user's, or the machine's. Connects when it is first needed, and
/// again when the connection was lost.
pub(crate) struct Systemd {
    scope: ServiceScope,
    link: Mutex<Option<Link>>,
}

#[derive(Clone)]
struct Link {
    connection: Connection,
    manager: ManagerProxy<'static>,
    version: u32,
}

impl fmt::Debug for Systemd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Systemd").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Systemd {
    pub(crate) fn new(scope: ServiceScope) -> Self {
        Self { scope, link: Mutex::new(None) }
    }

    /// Its major version, such as 252.
    pub(crate) async fn version(&self) -> Result<u32, SystemdError> {
        Ok(self.link().await?.version)
    }

    /// Carries out a job and waits for its end.
    pub(crate) async fn job(&self, verb: Verb, unit: &str) -> Result<(), SystemdError> {
        let manager = self.link().await?.manager;
        let what = || format!("{verb} {unit}");
        let ended = manager.receive_job_removed().await.map_err(|error| refused(what(), &error))?;
        tokio::pin!(ended);
        let job = self
            .call(what(), async {
                match verb {
                    Verb::Start => manager.start_unit(unit, "replace").await,
                    Verb::Stop => manager.stop_unit(unit, "replace").await,
                    Verb::Restart => manager.restart_unit(unit, "replace").await,
                }
            })
            .await;
        let job = match job {
            // What was never loaded, or is gone, is stopped.
            Err(SystemdError::Refused { reason, .. })
                if verb == Verb::Stop && reason.ends_with("not loaded.") =>
            {
                return Ok(());
            }
            job => job?,
        };
        let result = tokio::time::timeout(JOB_LIMIT, async {
            while let Some(signal) = ended.next().await {
                match signal.args() {
                    Ok(args) if args.job() == &job => return Some(args.result().clone()),
                    _ => {}
                }
            }
            None
        });
        match result.await {
            Ok(Some(result)) if result == "done" || result == "skipped" => Ok(()),
            Ok(Some(result)) => Err(SystemdError::Job { verb, unit: unit.to_owned(), result }),
            Ok(None) => {
                self.forget().await;
                Err(self.unreachable("the connection was lost"))
            }
            Err(_) => Err(SystemdError::Timeout { what: what(), limit: JOB_LIMIT }),
        }
    }

    /// Forgets failures and restarts, so that a start is not held back by them.
    pub(crate) async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        let manager = self.link().await?.manager;
        match self.call(format!("reset {unit}"), manager.reset_failed_unit(unit)).await {
            // A unit that is not loaded has nothing to be forgotten.
            Err(SystemdError::Refused { .. }) => Ok(()),
            other => other,
        }
    }

    /// Reads unit files again.
    pub(crate) async fn reload(&self) -> Result<(), SystemdError> {
        let manager = self.link().await?.manager;
        self.call("read its unit files again".to_owned(), manager.reload()).await
    }

    /// Has units started at boot, or when the user's systemd starts.
    pub(crate) async fn enable(&self, units: &[&str]) -> Result<(), SystemdError> {
        let manager = self.link().await?.manager;
        let what = format!("enable {}", units.join(" "));
        self.call(what, manager.enable_unit_files(units, false, true)).await?;
        // What it tells of a unit is from its last reading.
        self.reload().await
    }

    /// Undoes [`enable`](Self::enable).
    pub(crate) async fn disable(&self, units: &[&str]) -> Result<(), SystemdError> {
        let manager = self.link().await?.manager;
        let what = format!("disable {}", units.join(" "));
        self.call(what, manager.disable_unit_files(units, false)).await?;
        self.reload().await
    }

    /// What it knows of a unit, running or not.
    pub(crate) async fn state(&self, unit: &str) -> Result<UnitState, SystemdError> {
        let Link { connection, manager, .. } = self.link().await?;
        let what = || format!("tell about {unit}");
        self.call(what(), async {
            let path = manager.load_unit(unit).await?;
            let properties = PropertiesProxy::builder(&connection).path(path).build().await?;
            let mut all: HashMap<String, OwnedVariant> =
                properties.get_all("org.freedesktop.systemd1.Unit").await?;
            all.extend(properties.get_all("org.freedesktop.systemd1.Service").await?);
            Ok(UnitState::new(all))
        })
        .await
    }

    /// Names of units whose state changes, from now on.
    pub(crate) async fn changes(&self) -> Result<Changes, SystemdError> {
        let connection = self.link().await?.connection;
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .path_namespace(UNITS)
            .add_arg("org.freedesktop.systemd1.Unit");
        let what = || "tell what changes".to_owned();
        let rule = rule.build().map_err(|error| refused(what(), &error))?;
        let stream = MessageStream::for_match_rule(rule, &connection, Some(CHANGES_QUEUED));
        Ok(Changes(self.call(what(), stream).await?))
    }

    async fn call<T>(
        &self,
        what: String,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, SystemdError> {
        match tokio::time::timeout(CALL_LIMIT, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if is_lost(&error) {
                    self.forget().await;
                }
                Err(refused(what, &error))
            }
            Err(_) => {
                self.forget().await;
                Err(SystemdError::Timeout { what, limit: CALL_LIMIT })
            }
        }
    }

    async fn link(&self) -> Result<Link, SystemdError> {
        let mut link = self.link.lock().await;
        if let Some(link) = &*link {
            return Ok(link.clone());
        }
        let made = tokio::time::timeout(CALL_LIMIT, self.connect()).await;
        let made = made
            .map_err(|_| self.unreachable("no answer"))?
            .map_err(|error| self.unreachable(&error.to_string()))?;
        Ok(link.insert(made).clone())
    }

    async fn connect(&self) -> zbus::Result<Link> {
        let connection = match self.scope {
            ServiceScope::System => connection::Builder::system(),
            ServiceScope::User => match user_bus() {
                Some(address) => connection::Builder::address(address.as_str()),
                None => connection::Builder::session(),
            },
        };
        let connection = connection.build().await?;
        let manager = ManagerProxy::new(&connection).await?;
        manager.subscribe().await?;
        let version = manager.version().await?;
        Ok(Link { connection, manager, version: major(&version) })
    }

    async fn forget(&self) {
        *self.link.lock().await = None;
    }

    fn unreachable(&self, reason: &str) -> SystemdError {
        SystemdError::Unreachable { scope: scope_word(self.scope), reason: reason.to_owned() }
    }
}

/// See [`Systemd::changes`].
pub(crate) struct Changes(MessageStream);

impl Changes {
    /// The next unit; `None` when the connection is gone.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            let message = self.0.next().await?.ok()?;
            let header = message.header();
            let path = header.path().map(|path| path.as_str().to_owned());
            if let Some(unit) = path.as_deref().and_then(unit_of_path) {
                return Some(unit);
            }
        }
    }
}

/// The unit behind `…/unit/api_401_2eservice`; bytes that a path may not have are
/// written as `_` and two digits.
fn unit_of_path(path: &str) -> Option<String> {
    let mut rest = path.strip_prefix(UNITS)?.strip_prefix('/')?.bytes();
    let mut name = Vec::new();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'_' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(name).ok()
}

/// The user's own bus; a session's may be another one, such as after `sudo`.
fn user_bus() -> Option<String> {
    if let Ok(address) = std::env::var("DBUS_SESSION_BUS_ADDRESS") {
        return Some(address);
    }
    let socket = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("bus");
    socket.exists().then(|| format!("unix:path={}", socket.display()))
}

/// `252` of `252.38-1~deb12u1`.
fn major(version: &str) -> u32 {
    let digits = version.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

fn is_lost(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::InputOutput(_) | zbus::Error::Handshake(_))
}

fn refused(what: String, error: &zbus::Error) -> SystemdError {
    let reason = match error {
        zbus::Error::MethodError(name, Some(message), _) => {
            if message.is_empty() {
                name.to_string()
            } else {
                message.clone()
            }
        }
        other => other.to_string(),
    };
    SystemdError::Refused { what, reason }
}

/// Lets the user's services run while the user is not logged in.
///
/// # Errors
/// Why not, for people.
pub(crate) async fn enable_linger(uid: u32) -> Result<(), String> {
    let asked = async {
        let connection = connection::Builder::system().build().await?;
        LoginProxy::new(&connection).await?.set_user_linger(uid, true, false).await
    };
    match tokio::time::timeout(CALL_LIMIT, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match refused(String::new(), &error) {
            SystemdError::Refused { reason, .. } => reason,
            other => other.to_string(),
        }),
        Err(_) => Err("logind does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_out_of_paths() {
        let path = "/org/freedesktop/systemd1/unit/my_2dapi_401_2eservice";
        assert_eq!(unit_of_path(path).as_deref(), Some("my-api@1.service"));
        assert_eq!(unit_of_path("/org/freedesktop/systemd1/unit/a_4"), None);
        assert_eq!(unit_of_path("/elsewhere"), None);
    }

    #[test]
    fn versions_of_distributions_are_read() {
        let cases =
            [("252.38-1~deb12u1", 252), ("v257.9-1.fc42", 257), ("256", 256), ("unknown", 0)];
        for (text, expected) in cases {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
