//! Files that appear under their name only when they are whole, and locks on folders.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::{Error, Result};

/// A file that is written beside its place and takes its name only in [`AtomicFile::commit`].
///
/// Dropped before that, by an error, a panic or Ctrl-C, it leaves nothing. After a kill a hidden
/// `.NAME.XXXX.tmp` may stay; [`remove_leftovers`] takes those away.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    // apart from its path, since tempfile's own writer hides the system's error behind the hidden
    // name; before it, so that it is closed when the path is removed
    file: BufWriter<WriteBehind>,
    hidden: TempPath,
}

impl AtomicFile {
    /// Begins the file that will be called `path`; makes its folder if that is missing.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let folder = folder_of(&path);
        create_folder(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{name}.");
        builder.prefix(&prefix).suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // as an ordinary new file: the umask takes its part away
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let (file, hidden) = builder.tempfile_in(folder).map_err(Error::io(&path))?.into_parts();
        let file = WriteBehind { file, written: 0, handed_over: 0 };
        Ok(Self { path, file: BufWriter::with_capacity(1 << 18, file), hidden })
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes everything to the disk and gives the file its name, replacing one that has it.
    pub fn commit(self) -> Result<()> {
        let path = self.path;
        let file = self.file.into_inner().map_err(|error| Error::io(&path)(error.into_error()))?;
        file.file.sync_all().map_err(Error::io(&path))?;
        drop(file);
        self.hidden.persist(&path).map_err(|error| Error::io(&path)(error.error))?;
        sync_folder(folder_of(&path))
    }

    /// The underlying file, for a writer that needs to seek; buffered bytes are written first.
    pub fn file_mut(&mut self) -> Result<&mut File> {
        self.file.flush().map_err(Error::io(&self.path))?;
        Ok(&mut self.file.get_mut().file)
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

/// A file that goes to the disk while it is written, so that little is left to wait for at its end.
#[derive(Debug)]
struct WriteBehind {
    file: File,
    written: u64,
    /// the bytes that are on their way to the disk, or there
    handed_over: u64,
}

impl WriteBehind {
    /// How much is handed over at once.
    const PART: u64 = 8 << 20;
}

impl Write for WriteBehind {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        let new = self.written - self.handed_over;
        if new >= Self::PART {
            begin_sync(&self.file, self.handed_over, new);
            self.handed_over = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Asks the system to begin with bringing a part of `file` to the disk, without waiting. It need
/// not follow: what must be there is synced later.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // the standard library has no such call
fn begin_sync(file: &File, start: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (start, length) = (start as libc::off64_t, length as libc::off64_t);
    // SAFETY: the descriptor is open, and no memory is handed over.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

#[cfg(not(target_os = "linux"))]
fn begin_sync(_: &File, _: u64, _: u64) {}

/// Writes `bytes` as the whole file `path`, atomically.
pub fn write_atomically(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let result = file.write_all(bytes);
    result.map_err(Error::io(file.path()))?;
    file.commit()
}

/// Makes the folder `path` and those above it; one that is there is left alone.
pub fn create_folder(path: &Path) -> Result<()> {
    if path.is_file() {
        let text = format!("{}: a file, and a folder is needed: choose another", path.display());
        return Err(Error::invalid(text));
    }
    fs::create_dir_all(path).map_err(Error::io(path))
}

/// Removes what an [`AtomicFile`] of a killed process left in `folder`.
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

/// Makes the names in `folder` durable. Windows has no such call and needs none.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    let result = File::open(folder).and_then(|folder| folder.sync_all());
    match result {
        // some network file systems refuse to sync a folder; the files themselves are synced
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result.map_err(Error::io(folder)),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The right to write into a folder, held by one process at a time.
///
/// The lock is the operating system's, on `FOLDER/.lock`: it ends with the process, however that
/// ends. The empty file stays until the holder removes it in [`FolderLock::release`].
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Locks `folder`, which is made if it is missing; an error names the folder when another
    /// process writes there.
    pub fn acquire(folder: &Path) -> Result<Self> {
        create_folder(folder)?;
        let path = folder.join(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::invalid(format!(
                "{}: another process is writing this folder; wait for it or choose another output",
                folder.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }

    /// Gives the folder back and removes the lock file.
    pub fn release(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io(&self.path))
    }
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
    fn a_file_is_no_folder() {
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

    #[test]
    fn a_folder_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path()).unwrap();
        let error = FolderLock::acquire(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another process"));
        lock.release().unwrap();
        FolderLock::acquire(folder.path()).unwrap();
    }
}
