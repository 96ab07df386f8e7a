//! The folder of one log: segments named by the number of their first line, and how a log is found again after a crash.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::{
    Hash, Head,
    line::{decode, split},
};

/// The segments of one log.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// What [`Folder::recover`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recovered {
    pub(super) head: Head,
    /// First line of the segment that is written to, and the length of what counts in it.
    pub(super) first: u64,
    pub(super) len: u64,
}

impl Folder {
    /// The folder at this path. Nothing is read or made.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the segment that starts with this line is.
    pub fn segment(&self, first: u64) -> PathBuf {
        self.path.join(format!("{first:020}.jsonl"))
    }

    /// First lines of the segments, ascending.
    ///
    /// # Errors
    /// The folder cannot be read. One that does not exist has no segments.
    pub fn segments(&self) -> io::Result<Vec<u64>> {
        let files = match fs::read_dir(&self.path) {
            Ok(files) => files,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut all = Vec::new();
        for file in files {
            let name = file?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
            if let Some(first) = number.filter(|digits| digits.len() == 20).and_then(|d| d.parse().ok()) {
                all.push(first);
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// These lines, as they stand in the segments: what an export carries.
    ///
    /// # Errors
    /// A segment cannot be read, or a line of these is not there.
    pub fn lines(&self, first: u64, last: u64) -> io::Result<Vec<u8>> {
        let (mut bytes, mut next) = (Vec::new(), first);
        let segments = self.segments()?;
        let after = segments.iter().skip(1).copied().chain([u64::MAX]);
        for (segment, after) in segments.iter().zip(after) {
            if after <= next || *segment > last {
                continue;
            }
            let all = fs::read(self.segment(*segment))?;
            for (number, line) in (*segment..).zip(split(&all).0) {
                if number == next && number <= last {
                    bytes.extend_from_slice(line);
                    bytes.push(b'\n');
                    next += 1;
                }
            }
        }
        if next <= last {
            return Err(invalid(&self.path, "does not have all of these lines"));
        }
        Ok(bytes)
    }

    /// Opens or makes a segment, cut to this length. A shorter one lost durable lines and is not padded.
    pub(super) fn open(&self, first: u64, len: u64) -> io::Result<File> {
        fs::create_dir_all(&self.path)?;
        let file = OpenOptions::new().create(true).append(true).open(self.segment(first))?;
        match file.metadata()?.len() {
            now if now < len => return Err(invalid(&self.segment(first), "is shorter than it was")),
            now if now > len => file.set_len(len)?,
            _ => {}
        }
        file.sync_all()?;
        self.sync()?;
        Ok(file)
    }

    /// Makes new and removed names in the folder, and its own, durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        for folder in self.path.ancestors().take(3).filter(|path| !path.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Finds the end of the log. What a crash left behind it was never acknowledged; it is put aside as `….torn` and
    /// counts no more.
    ///
    /// # Errors
    /// A segment cannot be read, or the last two do not belong together.
    pub(super) fn recover(&self) -> io::Result<Recovered> {
        let mut segments = self.segments()?;
        let Some(first) = segments.pop() else {
            return Ok(Recovered { head: Head::EMPTY, first: 1, len: 0 });
        };
        let before = match segments.pop() {
            Some(sealed) => Some(self.sealed_head(sealed)?),
            None if first == 1 => Some(Head::EMPTY),
            None => None,
        };
        let bytes = fs::read(self.segment(first))?;
        let (head, len) = follow(&bytes, first, before.map(|head| head.hash));
        let head = match (head, before) {
            (Some(head), _) => head,
            (None, Some(before)) if before.number.checked_add(1) == Some(first) => before,
            (None, _) => return Err(invalid(&self.segment(first), "does not follow the segment before it")),
        };
        if let Some(torn) = bytes.get(len..).filter(|torn| !torn.is_empty()) {
            let aside = self.path.join(format!("{first:020}-{}.torn", Hash::of(torn)));
            tracing::warn!(bytes = torn.len(), file = %aside.display(), "end of an audit log put aside");
            fs::write(&aside, torn)?;
            File::open(&aside)?.sync_all()?;
            self.sync()?;
        }
        Ok(Recovered { head, first, len: u64::try_from(len).unwrap_or(u64::MAX) })
    }

    /// Where a segment ends that is no longer written to.
    fn sealed_head(&self, first: u64) -> io::Result<Head> {
        let path = self.segment(first);
        let bytes = fs::read(&path)?;
        let last = split(&bytes).0.pop().ok_or_else(|| invalid(&path, "has no line"))?;
        let line = decode(last).map_err(|_| invalid(&path, "has a last line that is none"))?;
        Ok(Head { number: line.number, hash: Hash::of(last) })
    }
}

/// An error that names the file.
pub(super) fn invalid(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}", path.display()))
}

/// The last line that the chain reaches from the start, and where it ends. Without `previous` any start counts.
fn follow(bytes: &[u8], first: u64, mut previous: Option<Hash>) -> (Option<Head>, usize) {
    let (mut head, mut end, mut number) = (None, 0, first);
    for bytes in split(bytes).0 {
        let fits = decode(bytes).is_ok_and(|line| {
            line.number == number && previous.is_none_or(|previous| previous == line.previous)
        });
        if !fits {
            break;
        }
        let hash = Hash::of(bytes);
        head = Some(Head { number, hash });
        previous = Some(hash);
        number = number.saturating_add(1);
        end += bytes.len() + 1;
    }
    (head, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_cut_to_its_length_and_never_padded() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("a/b/c"));
        assert_eq!(folder.segments().unwrap(), [0; 0]);
        folder.open(1, 0).unwrap();
        fs::write(folder.segment(1), b"12345678").unwrap();
        folder.open(1, 5).unwrap();
        assert_eq!(fs::read(folder.segment(1)).unwrap(), b"12345");
        let error = folder.open(1, 6).unwrap_err();
        assert!(error.to_string().ends_with("00000000000000000001.jsonl is shorter than it was"), "{error}");
        fs::write(folder.path().join("2.jsonl"), b"").unwrap();
        fs::write(folder.path().join("00000000000000000001-x.torn"), b"").unwrap();
        assert_eq!(folder.segments().unwrap(), [1]);
    }
}
