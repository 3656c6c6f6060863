//! What a store lists of a file without reading it.

/// A file as a hub, a bucket or a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Path in the repository.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal, of files that are kept by it (Git LFS).
    pub sha256: Option<String>,
    /// Another mark of the content, of stores that keep no SHA-256: equal where the content is.
    pub mark: Option<String>,
    /// When the commit was made that the file is from, as the hub writes it.
    pub at: Option<String>,
}
