//! The folder of descriptions: `NAME.toml`, one a service.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bs9_config::{Report, Service, edit, load_service};

use super::ServiceError;

/// Descriptions in one folder at most.
const MAX_SERVICES: usize = 1_024;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    folder: PathBuf,
}

impl Book {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn path(&self, service: &str) -> PathBuf {
        self.folder.join(format!("{service}.toml"))
    }

    /// Names of all services that are described, in order; a folder that is not
    /// there has none.
    pub(crate) fn names(&self) -> Result<Vec<String>, ServiceError> {
        let unreadable = |source| ServiceError::Read { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut names = Vec::new();
        for entry in entries.take(MAX_SERVICES * 8) {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(name) = name
                && path.extension().is_some_and(|ending| ending == "toml")
                && !name.starts_with('.')
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.truncate(MAX_SERVICES);
        Ok(names)
    }

    /// What a file says; `None` when there is none.
    pub(crate) fn read(&self, service: &str) -> Result<Option<Service>, ServiceError> {
        let path = self.named(service)?;
        match path.try_exists() {
            Ok(true) => load_service(&path).map(Some).map_err(ServiceError::Invalid),
            Ok(false) => Ok(None),
            Err(source) => Err(ServiceError::Read { path, source }),
        }
    }

    /// The same, when it has to be there.
    pub(crate) fn get(&self, service: &str) -> Result<Service, ServiceError> {
        match self.read(service)? {
            Some(found) => Ok(found),
            None => Err(self.unknown(service)),
        }
    }

    /// The text of a file; `None` when there is none.
    pub(crate) fn text(&self, service: &str) -> Result<Option<String>, ServiceError> {
        let path = self.named(service)?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ServiceError::Read { path, source }),
        }
    }

    /// Replaces a description; earlier ones are kept.
    pub(crate) fn write(&self, service: &str, text: &str) -> Result<(), ServiceError> {
        Ok(edit::write_service(&self.named(service)?, text)?)
    }

    /// Removes a description, which can be gone back to.
    pub(crate) fn remove(&self, service: &str) -> Result<(), ServiceError> {
        Ok(edit::remove_service(&self.named(service)?)?)
    }

    pub(crate) fn set_instances(&self, service: &str, count: u32) -> Result<(), ServiceError> {
        Ok(edit::set_instances(&self.named(service)?, count)?)
    }

    /// The description so many generations back.
    pub(crate) fn earlier(&self, service: &str, back: u32) -> Result<String, ServiceError> {
        edit::earlier_text(&self.named(service)?, back).map_err(|_| {
            ServiceError::Refused(format!("`{service}` has no description {back} generations back"))
        })
    }

    /// How many generations can be gone back.
    pub(crate) fn generations(&self, service: &str) -> u32 {
        (1..=32).take_while(|back| self.earlier(service, *back).is_ok()).count() as u32
    }

    pub(crate) fn unknown(&self, service: &str) -> ServiceError {
        let names = self.names().unwrap_or_default();
        let near = names
            .into_iter()
            .find(|name| name.starts_with(service) || service.starts_with(name.as_str()));
        ServiceError::Unknown { service: service.to_owned(), near }
    }

    /// A name out of a request is not yet one that may be part of a path.
    fn named(&self, service: &str) -> Result<PathBuf, ServiceError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        let good = (1..=64).contains(&service.len())
            && service.bytes().all(fine)
            && !service.starts_with(['-', '.']);
        match good {
            true => Ok(self.path(service)),
            false => Err(ServiceError::Senseless(format!(
                "`{service}` is not a good name; use 1 to 64 letters, digits, `_`, `-` or `.`"
            ))),
        }
    }
}

/// A report as one text, for where there is room for one only.
pub(crate) fn in_short(report: &Report) -> String {
    let all: Vec<_> = report.diagnostics().iter().map(|found| found.message.clone()).collect();
    all.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(folder.path().join("services"));
        for name in ["../x", "a/b", "", ".hidden", "-x", "a\nb"] {
            assert!(book.read(name).is_err(), "{name:?}");
            assert!(book.write(name, "command = [\"true\"]").is_err(), "{name:?}");
        }
        assert!(book.names().unwrap().is_empty());
    }

    #[test]
    fn a_description_can_be_gone_back_to() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(folder.path().join("services"));
        for word in ["one", "two", "three"] {
            book.write("api", &format!("command = [\"{word}\"]")).unwrap();
        }
        // Nothing new is no generation.
        book.write("api", "command = [\"three\"]").unwrap();
        assert_eq!(book.names().unwrap(), ["api"]);
        assert_eq!(book.earlier("api", 1).unwrap(), "command = [\"two\"]");
        assert_eq!(book.generations("api"), 2);
        assert!(book.write("api", "comand = [\"x\"]").is_err());
        assert_eq!(book.text("api").unwrap().unwrap(), "command = [\"three\"]");
        book.remove("api").unwrap();
        assert_eq!(book.earlier("api", 1).unwrap(), "command = [\"three\"]");
        assert!(matches!(book.get("api"), Err(ServiceError::Unknown { .. })));
    }
}
