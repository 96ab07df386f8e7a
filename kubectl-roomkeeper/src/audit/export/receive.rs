//! A copy as it comes in: the signed manifest, then the lines, which are put into the files that it names.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use roomkeeper_graph::audit::chain::{Checkpoint, LogName, Manifest, Part, Signed, VerifyingKey};

use crate::exit::Failure;

/// Longest first line: a manifest names files of 20,000 lines each and every writer.
const MANIFEST: usize = 16 << 20;

/// Who is asked for which log, and where it goes.
pub(super) struct Receiver<'a> {
    pub(super) folder: &'a Path,
    pub(super) keys: &'a [VerifyingKey],
    pub(super) log: &'a LogName,
    pub(super) pod: &'a str,
}

/// What was copied of one writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) writer: String,
    pub(super) lines: u64,
    /// The last line that the writer states.
    pub(super) last: u64,
    pub(super) exported: u64,
}

/// A copy under way.
pub(super) struct Receiving<'a> {
    receiver: Receiver<'a>,
    /// The first line, until it is whole.
    head: Vec<u8>,
    manifest: Option<Signed<Manifest>>,
    parts: VecDeque<Part>,
    file: Option<Open>,
    lines: u64,
}

struct Open {
    out: GzEncoder<BufWriter<File>>,
    /// Lines that are still to come.
    left: u64,
}

/// Makes a file that is not there yet, for its owner alone: lines name people by their object ids.
fn new(folder: &Path, name: &str) -> anyhow::Result<File> {
    let path = folder.join(name);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Usage(format!(
            "--to {}: {name} is there already: give an empty folder",
            folder.display()
        ))
        .into()),
        made => made.with_context(|| format!("--to: {} cannot be made", path.display())),
    }
}

/// Makes a file with that content.
pub(super) fn create(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = new(folder, name)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("--to: write {name}"))
}

impl<'a> Receiver<'a> {
    pub(super) fn begin(self) -> Receiving<'a> {
        Receiving {
            receiver: self,
            head: Vec::new(),
            manifest: None,
            parts: VecDeque::new(),
            file: None,
            lines: 0,
        }
    }

    /// The manifest, if it is what was asked for.
    fn open(&self, envelope: &[u8]) -> anyhow::Result<Signed<Manifest>> {
        let envelope = std::str::from_utf8(envelope).context("the manifest is no text")?;
        let signed = Signed::<Manifest>::open(envelope, self.keys)
            .map_err(|error| anyhow::anyhow!("the manifest of the copy {error}"))?;
        let Manifest { writer, scope, number, files, .. } = &signed.statement;
        ensure!(scope == self.log.as_str(), "the writer answered with the log of {scope}");
        let is_of_pod = writer.strip_prefix(self.pod).is_some_and(|id| id.starts_with('-'));
        ensure!(
            is_of_pod && *number == Manifest::COPY,
            "the writer answered with something else than its own copy"
        );
        let is_plain = |name: &str| {
            let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            let is_lines = Path::new(name).extension().is_some_and(|ending| ending == "jsonl");
            is_lines && !name.starts_with('.') && name.bytes().all(known)
        };
        ensure!(
            files.iter().all(|part| is_plain(&part.name)),
            "the manifest names a file that is none of an export"
        );
        Ok(signed)
    }
}

impl Receiving<'_> {
    /// Takes the next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        if self.manifest.is_none() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (head, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.head.extend_from_slice(head);
            ensure!(self.head.len() <= MANIFEST, "the manifest of the copy is longer than any");
            if end.is_none() {
                return Ok(());
            }
            let signed = self.receiver.open(&self.head)?;
            self.parts = signed.statement.files.iter().cloned().collect();
            self.manifest = Some(signed);
            bytes = rest.get(1..).unwrap_or_default();
        }
        while !bytes.is_empty() {
            bytes = self.lines(bytes)?;
        }
        Ok(())
    }

    /// Takes what belongs to the current file; the answer is the rest.
    fn lines<'b>(&mut self, bytes: &'b [u8]) -> anyhow::Result<&'b [u8]> {
        let open = if let Some(open) = &mut self.file {
            open
        } else {
            let Some(part) = self.parts.pop_front() else { bail!("more came than the manifest says") };
            let file = new(self.receiver.folder, &format!("{}.gz", part.name))?;
            let out = GzEncoder::new(BufWriter::new(file), Compression::default());
            self.file.insert(Open { out, left: part.lines })
        };
        let mut end = bytes.len();
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            open.left = open.left.saturating_sub(1);
            self.lines = self.lines.saturating_add(1);
            if open.left == 0 {
                end = at.saturating_add(1);
                break;
            }
        }
        let (own, rest) = bytes.split_at(end);
        open.out.write_all(own).context("--to: the copy cannot be written")?;
        if open.left == 0
            && let Some(open) = self.file.take()
        {
            closed(open).context("--to: the copy cannot be written")?;
        }
        Ok(rest)
    }

    /// The writer has nothing more: all that the manifest says has to be here. It is put beside the lines then, so that lines without a
    /// manifest are a copy that broke off.
    pub(super) fn end(self) -> anyhow::Result<Received> {
        let Receiving { receiver, manifest, parts, file, lines, .. } = self;
        let Some(manifest) = manifest.filter(|_| parts.is_empty() && file.is_none()) else {
            bail!("the copy broke off");
        };
        let Manifest { writer, writers, number, .. } = &manifest.statement;
        let own = writers.iter().find(|known| known.writer == *writer);
        let own = own.and_then(|known| known.checkpoints.last());
        let stated = own.and_then(|envelope| Signed::<Checkpoint>::open(envelope, receiver.keys).ok());
        let stated = stated.context("the manifest of the copy has no checkpoint of its writer")?.statement;
        let name = format!("{}.{writer}.{number:020}.manifest.json", receiver.log.folder());
        create(receiver.folder, &name, format!("{}\n", manifest.envelope).as_bytes())?;
        Ok(Received { writer: writer.clone(), lines, last: stated.number, exported: stated.exported })
    }
}

fn closed(open: Open) -> io::Result<()> {
    let file = open.out.finish()?.into_inner()?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::MultiGzDecoder;
    use jiff::Timestamp;
    use roomkeeper_graph::audit::chain::{CheckpointChain, Hash, Head, Known, SigningKey, Start};
    use secrecy::ExposeSecret as _;

    use super::*;

    const WRITER: &str = "operator-0-0a1b2c3d";

    struct Copied {
        key: SigningKey,
        log: LogName,
        folder: tempfile::TempDir,
    }

    impl Copied {
        fn new() -> Self {
            let pem = SigningKey::generate_pem().unwrap();
            let key = SigningKey::from_pem(pem.expose_secret().as_bytes()).unwrap();
            let log = LogName::of_scope("rooms/contoso").unwrap();
            Self { key, log, folder: tempfile::tempdir().unwrap() }
        }

        /// Five lines in files of two, changed before it is signed.
        fn manifest(&self, change: impl FnOnce(&mut Manifest)) -> String {
            let head = Head { number: 5, hash: Hash::of(b"5") };
            let mut chain = CheckpointChain::resume(WRITER, self.log.clone(), None, head).unwrap();
            let stated = chain.next(head, Start::FIRST, 2, Timestamp::UNIX_EPOCH, &self.key).unwrap();
            let part = |first: u64, last: u64| Part {
                name: format!("rooms_contoso.{WRITER}.{first}-{last}.jsonl"),
                first,
                last,
                lines: last - first + 1,
            };
            let mut manifest = Manifest {
                writer: WRITER.to_owned(),
                scope: self.log.to_string(),
                number: Manifest::COPY,
                previous: Hash::ZERO,
                time: Timestamp::UNIX_EPOCH,
                files: vec![part(1, 2), part(3, 4), part(5, 5)],
                writers: vec![Known {
                    writer: WRITER.to_owned(),
                    checkpoints: vec![stated.envelope.clone()],
                }],
            };
            change(&mut manifest);
            Signed::new(manifest, &self.key).unwrap().envelope
        }

        /// Takes an answer in pieces of that length.
        fn take(&self, answer: &str, length: usize) -> anyhow::Result<Received> {
            let keys = [self.key.public()];
            let receiver =
                Receiver { folder: self.folder.path(), keys: &keys, log: &self.log, pod: "operator-0" };
            let mut receiving = receiver.begin();
            for piece in answer.as_bytes().chunks(length) {
                receiving.take(piece)?;
            }
            receiving.end()
        }

        fn holds(&self, name: &str) -> String {
            let mut text = String::new();
            let file = File::open(self.folder.path().join(name)).unwrap();
            MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
            text
        }
    }

    #[test]
    fn lines_are_put_into_the_files_of_the_manifest_however_they_come() {
        for length in [1, 3, 7, 1_000] {
            let copied = Copied::new();
            let answer = format!("{}\na\nb\nc\nd\ne\n", copied.manifest(|_| ()));
            let received = copied.take(&answer, length).unwrap();
            let expected = Received { writer: WRITER.to_owned(), lines: 5, last: 5, exported: 2 };
            assert_eq!(received, expected);
            let parts = ["1-2", "3-4", "5-5"];
            let found = parts.map(|part| copied.holds(&format!("rooms_contoso.{WRITER}.{part}.jsonl.gz")));
            assert_eq!(found, ["a\nb\n", "c\nd\n", "e\n"]);
            let name = format!("rooms_contoso.{WRITER}.{:020}.manifest.json", 0);
            assert!(copied.folder.path().join(name).exists());
        }
    }

    #[test]
    fn what_is_not_all_of_the_copy_is_none() {
        for (lines, said) in [
            ("", "broke off"),
            ("a\nb\nc\n", "broke off"),
            ("a\nb\nc\nd\ne", "broke off"),
            ("a\nb\nc\nd\ne\nf\n", "more came than the manifest says"),
        ] {
            let copied = Copied::new();
            let answer = format!("{}\n{lines}", copied.manifest(|_| ()));
            let error = copied.take(&answer, 4).unwrap_err().to_string();
            assert!(error.contains(said), "{lines:?}: {error}");
            let name = format!("rooms_contoso.{WRITER}.{:020}.manifest.json", 0);
            assert!(!copied.folder.path().join(name).exists());
        }
        assert!(Copied::new().take("", 1).unwrap_err().to_string().contains("broke off"));
    }

    #[test]
    fn a_manifest_is_of_the_writer_that_was_asked_and_names_no_other_place() {
        let refused = |change: fn(&mut Manifest), said: &str| {
            let copied = Copied::new();
            let answer = format!("{}\na\nb\nc\nd\ne\n", copied.manifest(change));
            let error = copied.take(&answer, 100).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert_eq!(std::fs::read_dir(copied.folder.path()).unwrap().count(), 0);
        };
        refused(|manifest| "rooms/other".clone_into(&mut manifest.scope), "the log of rooms/other");
        refused(|manifest| "webhook-0-0a1b2c3d".clone_into(&mut manifest.writer), "its own copy");
        refused(|manifest| manifest.number = 1, "its own copy");
        refused(|manifest| "../../x.jsonl".clone_into(&mut manifest.files[0].name), "none of an export");
        refused(|manifest| ".x.jsonl".clone_into(&mut manifest.files[0].name), "none of an export");
        refused(|manifest| "keys.pem".clone_into(&mut manifest.files[0].name), "none of an export");
        let (copied, other) = (Copied::new(), Copied::new());
        let error = copied.take(&format!("{}\n", other.manifest(|_| ())), 100).unwrap_err().to_string();
        assert!(error.starts_with("the manifest of the copy "), "{error}");
    }
}
