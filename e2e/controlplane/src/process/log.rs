//! A running program's log file, as its owner reads it.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

const TAIL_BYTES: u64 = 64 * 1024;

/// Reads a growing file line by line; an unfinished last line waits for its end.
pub(super) struct LineReader {
    file: File,
    pending: Vec<u8>,
}

impl LineReader {
    pub(super) fn open(path: &Path, start: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, pending: Vec::new() })
    }

    /// The rest of the first line, not looked at yet, that starts with `prefix`.
    pub(super) fn find(&mut self, prefix: &str) -> io::Result<Option<String>> {
        self.file.read_to_end(&mut self.pending)?;
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
        let complete: Vec<u8> = self.pending.drain(..=end).collect();
        let found = complete
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(prefix.as_bytes()))
            .map(|rest| String::from_utf8_lossy(rest).trim().to_owned());
        if found.is_some() {
            return Ok(found);
        }
        Ok(None)
    }
}

/// The last `lines` lines of a file, at most 64 KiB of it.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    Ok(all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n"))
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use super::*;

    #[test]
    fn lines_count_once_they_are_complete() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = OpenOptions::new().append(true).open(file.path()).unwrap();
        writer.write_all(b"ready old\n").unwrap();
        let mut reader = LineReader::open(file.path(), 10).unwrap();
        assert_eq!(reader.find("ready ").unwrap(), None);
        writer.write_all(b"not ready x\nready half").unwrap();
        assert_eq!(reader.find("ready ").unwrap(), None);
        writer.write_all(b" and half \nmore").unwrap();
        assert_eq!(reader.find("ready ").unwrap().as_deref(), Some("half and half"));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a\nb\nc\n").unwrap();
        assert_eq!(tail(file.path(), 2).unwrap(), "b\nc");
        assert_eq!(tail(file.path(), 9).unwrap(), "a\nb\nc");
        assert_eq!(tail(file.path(), 0).unwrap(), "");
    }
}
