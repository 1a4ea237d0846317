//! One writer per folder, or several that share it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::create_folder;

/// A lock on a folder, held by one process at a time, or shared by several.
///
/// It is the operating system's lock on the file `FOLDER/.lock`, so it ends with the process, even
/// after a kill. Dropping it unlocks the folder and leaves the empty file; [`FolderLock::release`]
/// removes the file too.
///
/// ```
/// use lslm_runtime::lock::FolderLock;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let lock = FolderLock::acquire(folder)?;
/// let error = FolderLock::acquire(folder).unwrap_err();
/// assert!(error.to_string().contains("another process is writing this folder"));
/// lock.release()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    path: PathBuf,
    _file: File,
    /// Whether [`FolderLock::acquire`] made the folder.
    created: bool,
}

impl FolderLock {
    /// Locks `folder`, and creates it if it is missing.
    ///
    /// Returns an [`Error::Invalid`] that names the folder when another process holds it.
    pub fn acquire(folder: &Path) -> Result<Self> {
        Self::try_acquire(folder)?.ok_or_else(|| {
            Error::invalid(format!(
                "{}: another process is writing this folder; \
                 wait for it or choose another output",
                folder.display()
            ))
        })
    }

    /// Locks `folder` as [`FolderLock::acquire`] does, or returns `None` when another process holds
    /// it, also together with others.
    pub fn try_acquire(folder: &Path) -> Result<Option<Self>> {
        Self::lock_by(folder, File::try_lock)
    }

    /// Locks `folder` together with other processes that call this function, and creates it if it is
    /// missing. Returns `None` when a process holds it for itself.
    pub fn try_share(folder: &Path) -> Result<Option<Self>> {
        Self::lock_by(folder, File::try_lock_shared)
    }

    fn lock_by(
        folder: &Path,
        try_lock: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Option<Self>> {
        let created = !folder.exists();
        create_folder(folder)?;
        let path = folder.join(".lock");
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .read(true) // over NFS a shared lock needs it
                .write(true)
                .open(&path)
                .map_err(Error::io(&path))?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(Error::io(&path)(error)),
            }
            // between open and lock the holder before may have removed the file: a lock on it
            // would not exclude a process that creates the next
            if is_linked(&file).map_err(Error::io(&path))? {
                return Ok(Some(Self { folder: folder.to_owned(), path, _file: file, created }));
            }
        }
    }

    /// Unlocks the folder and removes the lock file; also the folder, if [`FolderLock::acquire`]
    /// created it and it is empty. Of a shared lock, only the last holder may call this.
    pub fn release(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(Error::io(&self.path))?;
        if self.created {
            // refused for a folder that is not empty, which is the usual case
            let _ = fs::remove_dir(&self.folder);
        }
        Ok(())
    }
}

/// Returns whether the open file still has a name.
#[cfg(unix)]
fn is_linked(file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() > 0)
}

/// Always true: the standard library has no link count on Windows.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as on Unix")]
fn is_linked(_: &File) -> std::io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::acquire(folder.path()).unwrap();
        let error = FolderLock::acquire(folder.path()).unwrap_err();
        assert!(error.to_string().contains("another process"));
        lock.release().unwrap();
        FolderLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_shared_lock_excludes_only_those_who_want_the_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let shared = [(); 2].map(|()| FolderLock::try_share(folder.path()).unwrap().unwrap());
        assert!(FolderLock::try_acquire(folder.path()).unwrap().is_none());
        drop(shared);
        let alone = FolderLock::acquire(folder.path()).unwrap();
        assert!(FolderLock::try_share(folder.path()).unwrap().is_none());
        alone.release().unwrap();
    }

    #[test]
    fn release_removes_an_empty_folder_that_acquire_created() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("run");
        FolderLock::acquire(&folder).unwrap().release().unwrap();
        assert!(!folder.exists());
        let lock = FolderLock::acquire(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        lock.release().unwrap();
        assert!(folder.join("file").exists());
        fs::remove_file(folder.join("file")).unwrap();
        FolderLock::acquire(&folder).unwrap().release().unwrap();
        assert!(folder.exists());
    }

    #[test]
    fn many_threads_never_hold_one_folder_together() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (holders, acquired) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Ok(lock) = FolderLock::acquire(folder.path()) else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        acquired.fetch_add(1, Ordering::SeqCst);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        lock.release().unwrap();
                    }
                });
            }
        });
        assert!(acquired.into_inner() > 0);
    }
}
