//! Files that get their name only once they are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use tempfile::TempPath;

use crate::error::{Error, Result};
use crate::writeback::Writeback;

/// Bytes that an [`AtomicFile`] buffers before it calls the operating system.
const BUFFER: usize = 1 << 18;

/// A file that is written under a hidden name in its folder, and renamed in [`AtomicFile::commit`].
///
/// Dropped before that, by an error, a panic or Ctrl-C, it leaves nothing. After a kill a hidden
/// `.NAME.XXXX.tmp` may stay; [`remove_leftovers`] removes those.
///
/// ```
/// use std::io::Write;
///
/// use lslm_runtime::files::AtomicFile;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let path = folder.join("ids.bin");
/// let mut file = AtomicFile::create(&path)?;
/// file.write_all(&[1, 2, 3])?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    // not a tempfile::NamedTempFile, whose errors name the hidden path; declared before the path,
    // so that it is closed when the path is removed
    file: BufWriter<Writeback>,
    hidden: TempPath,
}

impl AtomicFile {
    /// Creates the hidden file, and its folder if that is missing. `path` is the final name.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let folder = parent_of(&path);
        create_folder(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{name}.");
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // the mode of an ordinary new file: the umask is applied to it
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let (file, hidden) = builder.tempfile_in(folder).map_err(Error::io(&path))?.into_parts();
        let file = BufWriter::with_capacity(BUFFER, Writeback::new(file));
        Ok(Self { path, file, hidden })
    }

    /// Returns the final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the content to the disk, renames the file, and syncs its folder. A file that has the
    /// name already is replaced.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.file().sync_all().map_err(Error::io(&path))?;
        drop(file);
        self.hidden.persist(&path).map_err(|error| Error::io(&path)(error.error))?;
        sync_folder(parent_of(&path))
    }

    /// Writes what is buffered and returns the underlying file, for a writer that must seek.
    pub fn file_mut(&mut self) -> Result<&mut File> {
        self.file.flush().map_err(Error::io(&self.path))?;
        Ok(self.file.get_mut().file_mut())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `bytes` as the whole content of `path`, through an [`AtomicFile`].
pub fn write_atomically(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let result = file.write_all(bytes);
    result.map_err(Error::io(file.path()))?;
    file.commit()
}

/// Returns whether `path` is a URL, such as `s3://bucket/folder`, also with one slash, as a path has
/// it.
pub fn is_url(path: &Path) -> bool {
    let mut parts = path.components();
    // a single letter is a drive of Windows
    let is_scheme = |name: &str| name.len() > 2 && name.ends_with(':');
    matches!(parts.next(), Some(Component::Normal(name)) if name.to_str().is_some_and(is_scheme))
        && parts.next().is_some()
}

/// Returns `path` as a person wrote it: a URL with the two slashes that a path loses.
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if is_url(path) && !text.contains("://") { text.replacen(":/", "://", 1) } else { text }
}

/// Creates the folder `path` and its parents where they are missing.
///
/// A URL is an [`Error::Invalid`], unless a folder has its first part as name.
pub fn create_folder(path: &Path) -> Result<()> {
    if is_url(path) && !path.iter().next().is_some_and(|first| Path::new(first).is_dir()) {
        return Err(Error::invalid(format!(
            "{}: this is a URL, and lslm writes files of this machine only; name a folder here and \
             copy it there",
            shown(path)
        )));
    }
    if path.is_file() {
        let text = format!("{}: a file, and a folder is needed: choose another", path.display());
        return Err(Error::invalid(text));
    }
    fs::create_dir_all(path).map_err(Error::io(path))
}

/// Removes the hidden files that the [`AtomicFile`]s of a killed process left in `folder`.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// Makes the names in `folder` durable. Does nothing on Windows, which has no such call.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    let result = File::open(folder).and_then(|folder| folder.sync_all());
    match result {
        // some network file systems cannot sync a folder, and one without read permission cannot
        // be opened; the files in it are synced by themselves
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result.map_err(Error::io(folder)),
    }
}

/// Returns the folder that holds `path`: `.` for a bare file name.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a.bin");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"abc").unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        drop(AtomicFile::create(&path).unwrap());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn urls_are_paths_with_a_scheme() {
        for url in ["s3://bucket/a", "s3:/bucket/a", "https://example.org/a"] {
            assert!(is_url(Path::new(url)), "{url}");
            let error = create_folder(Path::new(url)).unwrap_err().to_string();
            assert!(error.contains("this is a URL"), "{error}");
        }
        for path in ["s3:", "c:/a", "/s3://a", "a/s3:/b", "", "a:b/c"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn create_folder_refuses_the_name_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let error = create_folder(&folder.path().join("file")).unwrap_err().to_string();
        assert!(error.contains("a folder is needed"), "{error}");
    }

    #[test]
    fn leftovers_of_a_kill_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".a.bin.x1.tmp"), b"half").unwrap();
        fs::write(folder.path().join("a.bin"), b"whole").unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
