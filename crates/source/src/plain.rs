//! The one place where files are opened that the other side names: what is no plain file is refused before it is opened
//! for reading, because a FIFO or a device would be waited for, and so is what is longer than its reader takes.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Opens a plain file, following links, without ever waiting for the other end of something.
///
/// # Errors
/// That of the system; [`ErrorKind::InvalidInput`] for what is no plain file.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    // A socket cannot be opened at all; a device may do something when it is.
    let about = std::fs::metadata(path)?;
    let refused = |what| Err(io::Error::new(ErrorKind::InvalidInput, what));
    if about.is_dir() {
        return refused("it is a folder, not a file");
    }
    if !about.is_file() {
        return refused("it is not a regular file");
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { refused("it is not a regular file") }
}

/// A plain file to add to, made if there is none. A link is not followed: whoever can write beside a file may have laid it
/// there to have something else written to.
///
/// # Errors
/// That of the system; [`ErrorKind::InvalidInput`] for what is no plain file.
pub fn beside(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NOFOLLOW;
    let refused = || io::Error::new(ErrorKind::InvalidInput, "it is not a regular file");
    if std::fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()) {
        return Err(refused());
    }
    let file = OpenOptions::new().append(true).create(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

/// The bytes of a plain file of at most `longest` bytes.
///
/// # Errors
/// If it is none, is longer, or cannot be read.
pub fn read(path: &Path, longest: u64) -> Result<Vec<u8>> {
    let place = || path.display().to_string().escape_debug().to_string();
    let file = open(path).map_err(|cause| Error::io(place(), cause))?;
    let long = || Error::input(text!("error-source/plain/longer-bytes-most-read", place = place(), longest));
    // A file with holes has a length that costs nobody anything: nothing of it is read.
    if file.metadata().map_err(|cause| Error::io(place(), cause))?.len() > longest {
        return Err(long());
    }
    let mut bytes = Vec::new();
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes).map_err(|cause| Error::io(place(), cause))?;
    if bytes.len() as u64 > longest { Err(long()) } else { Ok(bytes) }
}

/// As [`read`], of text; what is no UTF-8 is replaced.
///
/// # Errors
/// As [`read`].
pub fn text(path: &Path, longest: u64) -> Result<String> {
    Ok(String::from_utf8_lossy(&read(path, longest)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{open, read};

    #[test]
    fn only_plain_files_of_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().to_string().contains("longer than 4 bytes"));
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for odd in [fifo.as_path(), socket.as_path(), folder.path(), std::path::Path::new("/dev/zero")] {
            assert!(open(odd).is_err(), "{}", odd.display());
        }
    }
}
