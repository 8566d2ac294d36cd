//! A data plane whose configuration is made of flags.
//!
//! Flags become the text of a configuration, so that defaults and checks are those of
//! a file.

use bs9_config::Config;

use crate::{
    cli::Global,
    dataplane::{self, Launch, Origin, Ready},
    exit::{Exit, Failure},
    logging,
};

/// `text` as a string of a configuration.
pub(crate) fn quoted(text: &str) -> String {
    // A JSON string is a TOML string too, but for one character.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The configuration that `text` says; the flags were to make `what`.
///
/// # Errors
/// The flags contradict each other or mean nothing. There is no file to point to, so
/// only the reasons are told.
pub(crate) fn configuration(what: &str, text: &str) -> Result<Config, Failure> {
    let mut config = bs9_config::parse_str("flags", text).map_err(|report| {
        let reasons: Vec<_> =
            report.diagnostics().iter().map(|found| found.message.clone()).collect();
        Failure::new(Exit::Usage, format!("these flags make no {what}: {}", reasons.join("; ")))
    })?;
    config.sources.clear();
    Ok(config)
}

/// Serves `config` like [`dataplane::run`].
///
/// # Errors
/// Those of [`dataplane::run`].
pub(crate) fn serve(
    config: Config,
    global: &Global,
    when_ready: impl AsyncFnOnce(Ready) -> Result<(), Failure> + 'static,
) -> Result<(), Failure> {
    logging::start(&global.log, global.log_format)?;
    let launch = Launch { config, origin: Origin::Flags, socket: global.socket.clone() };
    dataplane::run(launch, when_ready)
}

#[cfg(test)]
mod tests {
    use bs9_config::{Secret, UserSecret};

    use super::*;

    #[test]
    fn any_string_survives_quoting() {
        for text in ["plain", "a\"b\\c", "o'hara", "tab\tnew\nline", "\u{7f}\u{1}", "ü€😀"] {
            let user = format!("[postgres.users.app]\npassword = {}\n", quoted(text));
            let config = configuration("pool", &user).unwrap();
            let secret = config.postgres.unwrap().users["app"].secret.clone().unwrap();
            assert_eq!(secret, UserSecret::Plain(Secret::new(text)));
        }
    }

    #[test]
    fn reasons_are_told_without_a_place() {
        let failure = configuration("pool", "[listeners]\nx = 1\n").unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        let said = failure.render().unwrap();
        assert!(said.contains("these flags make no pool") && !said.contains("flags:"), "{said}");
    }
}
