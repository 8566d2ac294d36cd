//! Configuration of bs9, from text to something the program can run on.
//!
//! [`load`] reads a file or a folder and yields a [`Config`], or a [`Report`]
//! with every error at once. Inside, `raw` is TOML that remembers where
//! everything stood; `sections` holds one definition for each key, from which
//! reading, [`json_schema`] and [`reference_markdown`] all come; [`model`] is the
//! result. [`difference`] says what a reload has to touch, [`edit`] changes the
//! files a person edits.

pub mod edit;
pub mod model;

mod address;
mod certificate;
mod change;
mod cluster_change;
mod definition;
mod difference;
mod draft;
mod json_schema;
mod load;
mod places;
mod raw;
mod read;
mod reference;
mod renewal;
mod report;
mod sections;
mod source;
mod unit;
mod verification;

pub use address::AddressError;
pub use change::ChangeError;
pub use cluster_change::{ClusterChange, ClusterProbe, ClusterRoute};
pub use difference::{Changes, Difference, difference};
pub use draft::ServiceDraft;
pub use json_schema::{json_schema, manager_json_schema, service_json_schema};
pub use load::{
    Checked, check, check_manager, check_service, load, load_manager, load_service,
    parse_manager_str, parse_service, parse_str,
};
pub use model::*;
pub use places::{
    Process, config_candidates, default_config_path, default_socket, default_state_folder,
};
pub use reference::reference_markdown;
pub use renewal::{Renewal, StaleFile};
pub use report::{Diagnostic, Related, Report, Severity};
pub use verification::VerifyError;
