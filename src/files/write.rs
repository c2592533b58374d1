//! Writing whole or not at all, and checksums.

use super::error::{FileError, Place};
use super::open;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` so that the file is there whole or not at all, even if the machine stops in between.
///
/// A new file beside it takes the bytes, is flushed to disk and renamed over `path`; then the folder is flushed. What
/// was at `path` before stays until that moment; a symbolic link there is replaced, not followed. Concurrent writers
/// do not mix: the last one wins. The temporary file is removed on failure; only a killed process leaves one, named
/// `.contraflow-*.tmp`.
///
/// # Errors
/// The folder is missing, full or not writable; `path` is a folder.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    replace(path, |file| file.write_all(bytes).map_err(|e| FileError::io(path, "write", &e)))
}

/// As [`write_atomically`], of what `write` puts into the new file.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let Some(name) = path.file_name() else {
        let remedy = "add a file name to the path";
        return Err(FileError::new(path, Place::Whole, "no file name", "the path of a file", remedy));
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let failed = |action: &str, e: &std::io::Error| FileError::io(path, action, e);
    let (temporary, mut file) =
        create_beside(folder).map_err(|e| failed("create a temporary file beside it", &e))?;
    let written = write(&mut file).and_then(|()| file.sync_all().map_err(|e| failed("write", &e)));
    drop(file);
    let done =
        written.and_then(|()| fs::rename(&temporary, folder.join(name)).map_err(|e| failed("replace", &e)));
    if done.is_err() {
        // The first failure is the one to report; there is nothing more to do about a second.
        let _ = fs::remove_file(&temporary);
        return done;
    }
    flush_folder(folder).map_err(|e| failed("flush its folder (the file itself is written)", &e))
}

/// As [`write_atomically`], but a file that holds these bytes is left alone, so that nothing has to be writable where nothing
/// changes.
///
/// # Errors
/// As [`write_atomically`].
pub fn update(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    if fs::read(path).is_ok_and(|present| present == bytes) { Ok(()) } else { write_atomically(path, bytes) }
}

/// Writes a file in place and without waiting for the disk: a reader can see a part of it, and a power failure can lose it.
///
/// For files in a folder that gets its name when all of them are written, and whose checksums are kept: what is lost is found.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_directly(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), FileError> {
    let path = path.as_ref();
    fs::write(path, bytes).map_err(|e| FileError::io(path, "write", &e))
}

/// Waits until everything that was written to the file system of `folder` is on disk: one call for any number of files. Where
/// the operating system has no such call it does nothing, and files reach the disk when the system sees fit.
///
/// # Errors
/// The folder cannot be opened, or the disk fails.
pub fn flush_file_system(folder: impl AsRef<Path>) -> Result<(), FileError> {
    let folder = folder.as_ref();
    #[cfg(target_os = "linux")]
    {
        let flushed = File::open(folder).and_then(|file| rustix::fs::syncfs(&file).map_err(Into::into));
        flushed.map_err(|error| FileError::io(folder, "flush", &error))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = folder;
        Ok(())
    }
}

/// Creates a file with a name that no other writer has.
fn create_beside(folder: &Path) -> std::io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Names collide only with leftovers of killed processes, or between machines that share the folder.
    const ATTEMPTS: usize = 1000;
    let mut result = Err(std::io::Error::from(ErrorKind::AlreadyExists));
    for _ in 0..ATTEMPTS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Of fixed length, so that a long file name does not become one that is too long.
        let path = folder.join(format!(".contraflow-{}-{number}.tmp", std::process::id()));
        result = OpenOptions::new().write(true).create_new(true).open(&path).map(|file| (path, file));
        match &result {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            _ => break,
        }
    }
    result
}

/// Makes a rename in `folder` survive a power failure, where the file system can promise that.
#[cfg(unix)]
fn flush_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder).and_then(|f| f.sync_all()) {
        // Some network file systems know no flush of folders, and a folder may be writable but not readable.
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Folders cannot be opened as files here; the rename itself is all there is.
#[cfg(not(unix))]
fn flush_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// The SHA-256 of `bytes` in 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(Sha256::new().chain_update(bytes))
}

/// The SHA-256 of a file's bytes in 64 lower-case hexadecimal digits; takes 64 KiB of memory, whatever its size.
///
/// # Errors
/// The file cannot be opened or read, or is not a regular file.
pub fn checksum(path: impl AsRef<Path>) -> Result<String, FileError> {
    let path = path.as_ref();
    let (mut reader, _) = open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hex(hash)),
            Ok(n) => hash.update(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(FileError::io(path, "read", &e)),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_written_and_replaced_whole_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, b"first and long").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn an_update_writes_what_changes_and_leaves_alone_what_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        update(&path, b"first").unwrap();
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        update(&path, b"first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
        update(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
    }

    #[test]
    fn a_failed_write_leaves_what_was_there_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        let error = write_atomically(&path, b"y").unwrap_err();
        assert!(error.to_string().contains("cannot replace"), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"x");
    }

    #[test]
    fn a_missing_folder_and_a_missing_name_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomically(folder.path().join("no/a.txt"), b"x").unwrap_err();
        assert_eq!(error.io_kind(), Some(ErrorKind::NotFound));
        assert!(write_atomically("/", b"x").unwrap_err().to_string().contains("no file name"));
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_leftover_of_a_killed_process_does_not_stop_a_write() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = create_beside(folder.path()).unwrap();
        let (second, _) = create_beside(folder.path()).unwrap();
        assert_ne!(first, second);
        write_atomically(folder.path().join("a"), b"x").unwrap();
        assert_eq!(names(folder.path()).len(), 3);
    }

    #[test]
    fn the_longest_allowed_name_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(folder.path().join("n".repeat(255)), b"x").unwrap();
    }

    #[test]
    fn readers_beside_concurrent_writers_never_see_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, &[0; 10_000]).unwrap();
        std::thread::scope(|scope| {
            for byte in 1..4 {
                let path = &path;
                scope.spawn(move || (0..5).for_each(|_| write_atomically(path, &[byte; 10_000]).unwrap()));
            }
            for _ in 0..100 {
                let bytes = fs::read(&path).unwrap();
                assert_eq!(bytes.len(), 10_000);
                assert!(bytes.iter().all(|b| *b == bytes[0]));
            }
        });
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1, and the hash of nothing.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), abc);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"abc").unwrap();
        assert_eq!(checksum(&path).unwrap(), abc);
        let long: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        fs::write(&path, &long).unwrap();
        assert_eq!(checksum(&path).unwrap(), sha256_hex(&long));
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
