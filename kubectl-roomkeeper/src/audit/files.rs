//! Exported files as they lie on a disk: in folders, and compressed.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File as OnDisk},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use roomkeeper_graph::audit::chain::File;

use crate::exit::Failure;

/// Most bytes of one file once it is unpacked: an export writes far less, and a small file can unpack to any size.
const LIMIT: u64 = 1 << 30;

/// What of a folder's files is part of an export.
const ENDINGS: [&str; 3] = [".jsonl", ".jsonl.gz", ".manifest.json"];

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exported {
    /// The files in the order of their names, unpacked, without `.gz`.
    pub(super) files: Vec<File>,
    /// Names of files that are no gzip from begin to end, or unpack to more than an export writes.
    pub(super) unreadable: Vec<String>,
}

/// Reads files, and of folders whatever is part of an export, at any depth.
///
/// # Errors
/// When a path cannot be read, no file is there, or two that differ have one name: files go by their names alone.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Exported> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            collect(path, &mut all).with_context(|| format!("FILES {}: cannot be read", path.display()))?;
        } else {
            all.push(path.clone());
        }
    }
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut unreadable = Vec::new();
    for path in all {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let unpacked = bytes(&path).with_context(|| format!("FILES {}: cannot be read", path.display()))?;
        let Some(bytes) = unpacked else {
            unreadable.push(name);
            continue;
        };
        match files.entry(name.strip_suffix(".gz").unwrap_or(&name).to_owned()) {
            Entry::Vacant(free) => drop(free.insert(bytes)),
            Entry::Occupied(taken) if *taken.get() == bytes => {}
            Entry::Occupied(taken) => {
                return Err(Failure::Usage(format!(
                    "FILES: two different files are called {}: give one of the two",
                    taken.key()
                ))
                .into());
            }
        }
    }
    if files.is_empty() && unreadable.is_empty() {
        let endings = ENDINGS.join(", ");
        return Err(Failure::NotFound(format!(
            "FILES: no exported file is there: name files, or folders with files that end with {endings}"
        ))
        .into());
    }
    let files = files.into_iter().map(|(name, bytes)| File { name, bytes }).collect();
    Ok(Exported { files, unreadable })
}

fn collect(folder: &Path, all: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A link could lead round in a circle; its target counts where it is named itself.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), all)?;
        } else if kind.is_file()
            && entry.file_name().to_str().is_some_and(|name| ENDINGS.iter().any(|end| name.ends_with(end)))
        {
            all.push(entry.path());
        }
    }
    Ok(())
}

/// What a file holds, unpacked; `None` where it cannot be unpacked.
fn bytes(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = OnDisk::open(path)?;
    let mut bytes = Vec::new();
    if path.extension().is_none_or(|ending| ending != "gz") {
        io::BufReader::new(file).read_to_end(&mut bytes)?;
        return Ok(Some(bytes));
    }
    let whole = MultiGzDecoder::new(file).take(LIMIT + 1).read_to_end(&mut bytes);
    Ok((whole.is_ok() && u64::try_from(bytes.len()).is_ok_and(|len| len <= LIMIT)).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn folders_are_searched_and_files_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/2.jsonl.gz"), packed(b"two\n")).unwrap();
        fs::write(at("a/1.jsonl"), "one\n").unwrap();
        fs::write(at("a/x.manifest.json"), "{}\n").unwrap();
        fs::write(at("a/key.pem"), "no").unwrap();
        fs::write(at("a/b/0.torn"), "no").unwrap();
        let read = read(&[at("a")]).unwrap();
        let found: Vec<_> =
            read.files.iter().map(|file| (file.name.as_str(), file.bytes.as_slice())).collect();
        assert_eq!(found, [("1.jsonl", &b"one\n"[..]), ("2.jsonl", b"two\n"), ("x.manifest.json", b"{}\n")]);
    }

    #[test]
    fn what_cannot_be_unpacked_is_named_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let gzip = packed(b"two\n");
        let changes: [(&str, Vec<u8>); 3] = [
            ("cut.jsonl.gz", gzip[..gzip.len() - 3].to_vec()),
            ("more.jsonl.gz", [&gzip[..], b"x"].concat()),
            ("plain.jsonl.gz", b"two\n".to_vec()),
        ];
        for (name, bytes) in &changes {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let mut read = read(&[dir.path().to_owned()]).unwrap();
        read.unreadable.sort();
        assert_eq!(
            read,
            Exported { files: vec![], unreadable: changes.map(|(name, _)| name.to_owned()).to_vec() }
        );
    }

    #[test]
    fn one_name_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for folder in [&a, &b] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("1.jsonl"), "one\n").unwrap();
        }
        assert_eq!(read(&[a.clone(), b.clone()]).unwrap().files.len(), 1);
        fs::write(b.join("1.jsonl"), "other\n").unwrap();
        let error = read(&[a, b]).unwrap_err().to_string();
        assert_eq!(error, "FILES: two different files are called 1.jsonl: give one of the two");
        assert!(read(&[]).unwrap_err().to_string().starts_with("FILES: no exported file is there"));
        let error = read(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(error.ends_with("none: cannot be read"), "{error}");
    }
}
