//! Whether a user's services run while the user is not logged in.

use std::{fs, path::Path};

use crate::systemd;

/// Where logind remembers it.
const FOLDER: &str = "/var/lib/systemd/linger";

/// Turns lingering on for the user this process runs as.
///
/// # Errors
/// Why it is not on, for people, with what to do.
pub(crate) async fn ensure() -> Result<(), String> {
    let uid = rustix::process::getuid().as_raw();
    let name = user_name(uid).unwrap_or_else(|| uid.to_string());
    if is_on(&name) {
        return Ok(());
    }
    match systemd::enable_linger(uid).await {
        Ok(()) => Ok(()),
        Err(reason) => Err(format!(
            "lingering is off for {name}: user services stop at logout and do not start at boot. It \
             could not be turned on: {reason}. Run `sudo loginctl enable-linger {name}`"
        )),
    }
}

/// Whether it is on.
pub(crate) fn is_on(user: &str) -> bool {
    Path::new(FOLDER).join(user).exists()
}

/// The name of a user, as the machine's own list has it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let list = fs::read_to_string("/etc/passwd").ok()?;
    let found = list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    found.or_else(|| std::env::var("USER").ok())
}
