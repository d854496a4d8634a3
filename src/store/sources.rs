//! Reads the files that policies are written in.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::document::Source;

/// How many files a policy set may have.
const MAX_FILES: usize = 20_000;

/// How many bytes all of them may have together: 64 MiB.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How many entries of folders, of whatever kind, are looked at.
const MAX_VISITED: usize = 100_000;

/// How deeply folders may be nested.
const MAX_DEPTH: usize = 16;

/// Why the sources could not be read. Nothing of a set is used where one of its files cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A path does not exist, is not readable, or vanished meanwhile.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Neither a file nor a folder: a socket, a pipe, a device.
    #[error("`{}` is neither a file nor a folder", .0.display())]
    Kind(PathBuf),
    /// No path was given, or none has a `*.yaml` or `*.yml` file below it. An empty set would switch every Deny off.
    #[error("there is no `*.yaml` or `*.yml` file below {0}")]
    Empty(String),
    /// More files, bytes or folders than are read.
    #[error("`{}` exceeds the limit of {limit}", path.display())]
    TooMuch {
        /// Where the limit was passed.
        path: PathBuf,
        /// Which one, in words.
        limit: &'static str,
    },
    /// No two readings agreed: the files are being written all the time.
    #[error("the files changed each time while they were read")]
    Unsettled,
    /// The reading panicked, or the process is stopping.
    #[error("{0}")]
    Aborted(String),
}

/// Reads every `*.yaml` and `*.yml` file below these paths, each file once, whatever links lead to it, in the order of
/// the paths and, within a folder, of the names. A path that is itself a file is read whatever its name. Names that
/// begin with a dot are passed over in folders: among them are the `..data` folders behind the links of a mounted
/// ConfigMap or Secret. Sources are named by the path that led to them.
///
/// # Errors
/// Where anything below the paths that should be read cannot be, or there is nothing, or too much of it.
pub fn read_sources(paths: &[PathBuf]) -> Result<Vec<Source>, ReadError> {
    let mut reader = Reader { sources: Vec::new(), seen: HashSet::new(), visited: 0, bytes: 0 };
    for path in paths {
        reader.read(path, 0)?;
    }
    if reader.sources.is_empty() {
        let paths: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(ReadError::Empty(if paths.is_empty() { "no path".to_owned() } else { paths.join(", ") }));
    }
    Ok(reader.sources)
}

struct Reader {
    sources: Vec<Source>,
    /// The device and inode of each file and folder that was read: links may lead to one several times, or in circles.
    seen: HashSet<(u64, u64)>,
    visited: usize,
    bytes: u64,
}

impl Reader {
    fn read(&mut self, path: &Path, depth: usize) -> Result<(), ReadError> {
        self.visited = self.visited.saturating_add(1);
        within(self.visited <= MAX_VISITED, path, "100,000 files and folders")?;
        within(depth <= MAX_DEPTH, path, "16 nested folders")?;
        let metadata = std::fs::metadata(path).map_err(|error| io_error(path, error))?;
        if metadata.is_dir() {
            return if self.is_new(&metadata) { self.read_folder(path, depth) } else { Ok(()) };
        }
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !metadata.is_file() {
            return Err(ReadError::Kind(path.to_owned()));
        }
        self.read_file(path)
    }

    fn read_folder(&mut self, folder: &Path, depth: usize) -> Result<(), ReadError> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| io_error(folder, error))? {
            let entry = entry.map_err(|error| io_error(folder, error))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            within(paths.len() < MAX_VISITED, folder, "100,000 files and folders")?;
            paths.push(entry.path());
        }
        paths.sort();
        for path in paths {
            if is_yaml(&path) || path.is_dir() {
                self.read(&path, depth.saturating_add(1))?;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ReadError> {
        let file = File::open(path).map_err(|error| io_error(path, error))?;
        let metadata = file.metadata().map_err(|error| io_error(path, error))?;
        if !self.is_new(&metadata) {
            return Ok(());
        }
        within(self.sources.len() < MAX_FILES, path, "20,000 files")?;
        let left = MAX_BYTES.saturating_sub(self.bytes);
        let mut bytes = Vec::new();
        let read = file.take(left.saturating_add(1)).read_to_end(&mut bytes);
        let read = read.map_err(|error| io_error(path, error))? as u64;
        within(read <= left, path, "64 MiB for all files together")?;
        self.bytes = self.bytes.saturating_add(read);
        let name = path.display().to_string();
        self.sources.push(Source { name: name.into(), bytes: bytes.into() });
        Ok(())
    }

    fn is_new(&mut self, metadata: &Metadata) -> bool {
        self.seen.insert((metadata.dev(), metadata.ino()))
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn within(holds: bool, path: &Path, limit: &'static str) -> Result<(), ReadError> {
    if holds { Ok(()) } else { Err(ReadError::TooMuch { path: path.to_owned(), limit }) }
}

fn io_error(path: &Path, error: io::Error) -> ReadError {
    ReadError::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path, paths: &[PathBuf]) -> Vec<String> {
        let sources = read_sources(paths).unwrap();
        let name =
            |source: &Source| Path::new(&*source.name).strip_prefix(folder).unwrap().display().to_string();
        sources.iter().map(name).collect()
    }

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    #[test]
    fn yaml_files_are_read_recursively_and_in_order() {
        let folder =
            folder(&["b.yaml", "a/z.yml", "a/deep/y.yaml", "notes.txt", ".hidden.yaml", ".git/x.yaml"]);
        let names = names(folder.path(), &[folder.path().to_owned()]);
        assert_eq!(names, ["a/deep/y.yaml", "a/z.yml", "b.yaml"]);
    }

    #[test]
    fn a_file_that_is_named_is_read_whatever_it_is_called_and_only_once() {
        let folder = folder(&["a.yaml", "policies.conf"]);
        let file = folder.path().join("policies.conf");
        let names = names(folder.path(), &[file.clone(), folder.path().to_owned(), file]);
        assert_eq!(names, ["policies.conf", "a.yaml"]);
    }

    #[test]
    fn a_mounted_config_map_is_read_once() {
        let folder = folder(&["..2026_01/a.yaml", "..2026_01/b.yaml"]);
        symlink("..2026_01", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        symlink("..data/b.yaml", folder.path().join("b.yaml")).unwrap();
        assert_eq!(names(folder.path(), &[folder.path().to_owned()]), ["a.yaml", "b.yaml"]);
    }

    #[test]
    fn links_in_circles_end() {
        let folder = folder(&["a.yaml", "sub/b.yaml"]);
        symlink("..", folder.path().join("sub/up")).unwrap();
        symlink("a.yaml", folder.path().join("again.yaml")).unwrap();
        assert_eq!(names(folder.path(), &[folder.path().to_owned()]), ["a.yaml", "sub/b.yaml"]);
        symlink("loop.yaml", folder.path().join("loop.yaml")).unwrap();
        assert!(matches!(read_sources(&[folder.path().to_owned()]), Err(ReadError::Io { .. })));
    }

    #[test]
    fn what_does_not_exist_or_cannot_be_read_is_an_error() {
        let folder = folder(&["a.yaml"]);
        let missing = read_sources(&[folder.path().to_owned(), folder.path().join("missing")]).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read `"), "{missing}");
        symlink("nowhere.yaml", folder.path().join("dangling.yaml")).unwrap();
        assert!(matches!(read_sources(&[folder.path().to_owned()]), Err(ReadError::Io { .. })));
    }

    #[test]
    fn a_socket_that_is_called_yaml_is_an_error_and_no_wait() {
        let folder = folder(&["a.yaml"]);
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("b.yaml")).unwrap();
        assert!(matches!(read_sources(&[folder.path().to_owned()]), Err(ReadError::Kind(_))));
    }

    #[test]
    fn no_files_are_no_policy_set() {
        let folder = folder(&["notes.txt"]);
        let error = read_sources(&[folder.path().to_owned()]).unwrap_err();
        assert!(error.to_string().starts_with("there is no `*.yaml` or `*.yml` file below `"), "{error}");
        assert!(matches!(read_sources(&[]), Err(ReadError::Empty(_))));
    }

    #[test]
    fn more_bytes_than_the_limit_are_an_error() {
        let folder = folder(&["a.yaml"]);
        let big = File::create(folder.path().join("b.yaml")).unwrap();
        big.set_len(MAX_BYTES).unwrap();
        assert!(matches!(read_sources(&[folder.path().to_owned()]), Err(ReadError::TooMuch { .. })));
    }

    #[test]
    fn folders_are_followed_so_deep_and_no_deeper() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(vec!["d"; MAX_DEPTH + 1].join("/"));
        fs::create_dir_all(&path).unwrap();
        assert!(matches!(read_sources(&[folder.path().to_owned()]), Err(ReadError::TooMuch { .. })));
    }
}
