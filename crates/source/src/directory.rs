//! A folder of this computer as the place of one model.

use std::io;
use std::path::{Path, PathBuf};

use super::{Blob, LocalFile, Store};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A folder, or one file of a folder.
///
/// Only plain entries of the folder can be opened. An entry may be a link that leads elsewhere, as in the cache of the
/// Hugging Face hub (`snapshots/<revision>/x -> ../../blobs/<hash>`): a name cannot leave the folder by itself.
pub struct LocalDir {
    root: PathBuf,
    only: Option<String>,
}

impl LocalDir {
    /// The place at `path`. If that is a file, the place holds it and the `config.json` beside it.
    ///
    /// # Errors
    /// If there is nothing at `path`, or the name of the file is not UTF-8.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => {
                Error::input(text!("error-source/directory/no-such-file-or", path = path.display()))
            }
            _ => Error::io(path.display(), cause),
        })?;
        if metadata.is_dir() {
            return Ok(Self { root: path.to_path_buf(), only: None });
        }
        if !metadata.is_file() {
            return Err(Error::input(text!("error-source/directory/neither-regular-file-nor", path = path.display())));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let name =
            name.ok_or_else(|| Error::input(text!("error-source/directory/name-not-utf", path = path.display())))?;
        let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { root: root.to_path_buf(), only: Some(name.to_owned()) })
    }
}

impl Store for LocalDir {
    fn uri(&self) -> String {
        match &self.only {
            Some(name) if self.root == Path::new(".") => name.clone(),
            Some(name) => self.root.join(name).display().to_string(),
            None => self.root.display().to_string(),
        }
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if let Some(only) = &self.only {
            names.push(only.clone());
            if only != "config.json" && self.root.join("config.json").is_file() {
                names.push("config.json".to_owned());
            }
        } else {
            let failed = |cause: io::Error| Error::io(self.root.display(), cause);
            for entry in std::fs::read_dir(&self.root).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // Names that are not UTF-8 cannot be in an index; folders (`.cache`, `original`) are other things.
                if let Ok(name) = entry.file_name().into_string()
                    && !entry.path().is_dir()
                {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        if self.only.as_deref().is_some_and(|only| name != only && name != "config.json") {
            return Err(Error::input(text!(
                "error-source/directory/not-part",
                name = format!("{name:?}"),
                uri = self.uri()
            )));
        }
        Ok(Box::new(LocalFile::open(&self.root.join(name))?))
    }

    fn folders(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        if self.only.is_none() {
            let failed = |cause: io::Error| Error::io(self.root.display(), cause);
            for entry in std::fs::read_dir(&self.root).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                if let Ok(name) = entry.file_name().into_string()
                    && entry.path().is_dir()
                {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        plain(name)?;
        let path = self.root.join(name);
        if self.only.is_some() || !path.is_dir() {
            return Err(Error::input(text!(
                "error-source/directory/no-folder",
                name = format!("{name:?}"),
                root = self.root.display()
            )));
        }
        Ok(Box::new(Self { root: path, only: None }))
    }

    fn beside(&self, name: &str) -> Result<Option<Box<dyn Blob>>> {
        plain(name)?;
        let path = self.root.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        Ok(Some(Box::new(LocalFile::open(&path)?)))
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }
}

/// Refuses every name that is not the plain name of an entry.
pub(super) fn plain(name: &str) -> Result<()> {
    let refused = if name.is_empty() {
        text!("error-source/directory/empty")
    } else if name.contains('\0') {
        text!("error-source/directory/nul")
    } else if name == "." || name == ".." {
        text!("error-source/directory/is-folder")
    } else if name.contains(['/', '\\']) {
        text!("error-source/directory/path")
    } else if name.len() > 255 {
        return Err(Error::input(text!("error-source/directory/file-name-bytes-refused", name = name.len())));
    } else {
        return Ok(());
    };
    Err(Error::input(text!("error-source/directory/file-name-refused", name = format!("{name:?}"), refused)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lists_files_and_refuses_names_that_lead_outside() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir_all(model.join("sub")).unwrap();
        std::fs::write(folder.path().join("secret"), b"s").unwrap();
        std::fs::write(model.join("b"), b"1").unwrap();
        std::fs::write(model.join("a"), b"22").unwrap();
        let place = LocalDir::open(&model).unwrap();
        assert_eq!(place.list().unwrap(), ["a", "b"]);
        assert_eq!(place.open("a").unwrap().len(), 2);
        let absolute = folder.path().join("secret").display().to_string();
        for name in ["../secret", "..", ".", "", "sub/../a", "./a", "..\\secret", "a\0", &absolute, &"x".repeat(300)] {
            let error = place.open(name).err().unwrap();
            assert!(error.is_input() && error.to_string().contains("refused"), "{name:?}: {error}");
        }
        assert!(place.open("sub").is_err());
        assert!(place.open("none").is_err());
    }

    #[test]
    fn links_of_the_folder_itself_are_followed_as_in_the_hub_cache() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("snapshots/rev");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir(folder.path().join("blobs")).unwrap();
        std::fs::write(folder.path().join("blobs/0abc"), b"weights").unwrap();
        symlink("../../blobs/0abc", snapshot.join("model.safetensors")).unwrap();
        symlink("../../blobs/gone", snapshot.join("broken")).unwrap();
        symlink("/dev/zero", snapshot.join("device")).unwrap();
        let place = LocalDir::open(&snapshot).unwrap();
        assert_eq!(place.open("model.safetensors").unwrap().len(), 7);
        assert!(place.open("broken").is_err());
        assert!(place.open("device").err().unwrap().to_string().contains("not a regular file"));
    }

    #[test]
    fn a_single_file_is_a_place_with_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.safetensors"), b"1").unwrap();
        std::fs::write(folder.path().join("other"), b"2").unwrap();
        let place = LocalDir::open(&folder.path().join("x.safetensors")).unwrap();
        assert_eq!((place.list().unwrap(), place.only()), (vec!["x.safetensors".to_owned()], Some("x.safetensors")));
        std::fs::write(folder.path().join("config.json"), b"{}").unwrap();
        assert_eq!(place.list().unwrap(), ["config.json", "x.safetensors"]);
        assert!(place.open("other").is_err());
        assert!(place.uri().ends_with("/x.safetensors"));
    }
}
