//! Unit files on disk that are bs9's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bs9_config::{ServiceScope, edit};

use super::ServiceError;
use crate::unit::{Marker, UnitText, parse_unit_name};

/// Bytes of a unit file that are read at most.
const MAX_BYTES: u64 = 1 << 20;

/// A unit file that bs9 wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deployed {
    pub(crate) scope: ServiceScope,
    pub(crate) path: PathBuf,
    pub(crate) unit: String,
    pub(crate) text: String,
    pub(crate) marker: Marker,
}

impl Deployed {
    /// What is written to have it again.
    pub(crate) fn unit_text(&self) -> UnitText {
        UnitText { name: self.unit.clone(), text: self.text.clone() }
    }
}

/// All of them in a folder; one that is not there has none.
pub(crate) fn scan(scope: ServiceScope, folder: &Path) -> Result<Vec<Deployed>, ServiceError> {
    let unreadable = |source| ServiceError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        entries => entries.map_err(unreadable)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let Some(unit) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((service, instance)) = parse_unit_name(unit) else { continue };
        let (service, unit) = (service.to_owned(), unit.to_owned());
        let small = path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES);
        if !small {
            continue;
        }
        // One that is gone meanwhile, or is not text, is none of bs9's.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Some(marker) = Marker::read(&text)
            && marker.service == service
            && marker.instance == instance
        {
            found.push(Deployed { scope, path, unit, text, marker });
        }
    }
    Ok(found)
}

/// Writes a unit file, unless one of that name is somebody else's.
pub(crate) fn write(folder: &Path, unit: &UnitText) -> Result<(), ServiceError> {
    let path = folder.join(&unit.name);
    let failed = |source| ServiceError::Write { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(present) if present == unit.text => return Ok(()),
        Ok(present) if Marker::read(&present).is_none() => {
            return Err(ServiceError::Refused(format!(
                "{} is not bs9's; choose another name for the service, or move it away",
                path.display()
            )));
        }
        _ => {}
    }
    fs::create_dir_all(folder).map_err(failed)?;
    // There is no secret in it, so the texts before it may stay beside it.
    edit::put(&path, &unit.text).map_err(failed)
}

/// Removes a unit file; one that is gone already is fine.
pub(crate) fn remove(unit: &Deployed) -> Result<(), ServiceError> {
    match fs::remove_file(&unit.path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ServiceError::Write { path: unit.path.clone(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(instance: u32) -> UnitText {
        let marker = Marker { service: "api".into(), instance, ..Marker::default() };
        UnitText {
            name: format!("api@{instance}.service"),
            text: format!("[Service]\nExecStart=/bin/true\n{}", marker.to_text()),
        }
    }

    #[test]
    fn somebody_elses_units_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("api@1.service");
        fs::write(&foreign, "[Service]\nExecStart=/bin/false\n").unwrap();
        assert!(write(folder.path(), &unit(1)).is_err());
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "[Service]\nExecStart=/bin/false\n");
        assert!(scan(ServiceScope::User, folder.path()).unwrap().is_empty());

        write(folder.path(), &unit(2)).unwrap();
        let found = scan(ServiceScope::User, folder.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].unit.as_str(), found[0].marker.instance), ("api@2.service", 2));
        remove(&found[0]).unwrap();
        remove(&found[0]).unwrap();
        assert!(scan(ServiceScope::User, &folder.path().join("none")).unwrap().is_empty());
    }
}
