//! One export of one log: plan, upload, state.

#[cfg(test)]
mod tests;

use std::{
    io::{self, Write as _},
    slice,
};

use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use roomkeeper_graph::audit::chain::{
    Folder, LogName, Manifest, Part, SignError, Signed, SigningKey, VerifyingKey,
};

use super::{
    checkpoints::{CheckpointError, Checkpoints},
    destination::{Put, UploadError},
    kept::{self, Kept, KeptError, Manifests},
    name::{manifest_name, object_folder},
    plan::{Plan, PlanError, Planned, Situation, plan},
};

/// Exports one log of one writer.
pub struct Exporter<'a> {
    /// Whose log.
    pub writer: &'a str,
    /// Of which scope.
    pub log: &'a LogName,
    /// The log's segments.
    pub folder: &'a Folder,
    /// Signs manifests.
    pub key: &'a SigningKey,
    /// Keys of earlier manifests, beside the key's own public half.
    pub earlier_keys: &'a [VerifyingKey],
    /// Where checkpoints are made and kept.
    pub checkpoints: &'a dyn Checkpoints,
    /// Where the export goes.
    pub destination: &'a dyn Put,
}

/// What an export carried away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Lines that were not exported before.
    pub lines: u64,
    /// The last line that is exported now; 0 if none is.
    pub last: u64,
}

/// An export did not come to its end. The next one goes on where it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A checkpoint could not be made, kept or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A manifest could not be kept or read.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Nothing can be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The manifest could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The log could not be read.
    #[error("cannot read the audit log for its export: {0}")]
    Log(#[source] io::Error),
    /// The destination did not take an object.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl Exporter<'_> {
    /// Finishes an export that was begun, and exports what is new.
    ///
    /// Each step can be followed by a crash: the checkpoint is kept, the manifest is durable beside the log, the lines are uploaded, then the
    /// manifest, then the checkpoint that says so is kept.
    ///
    /// # Errors
    /// See [`ExportError`]; the next call goes on where this one stopped.
    pub async fn run(&self, now: Timestamp) -> Result<Exported, ExportError> {
        let manifests = Manifests::of(self.folder);
        let mut lines = 0;
        loop {
            let Kept { pending, last } = self.kept(&manifests)?;
            let exported = self.checkpoints.last(self.log).await?.map_or(0, |last| last.statement.exported);
            let checkpoint = self.checkpoints.state(self.log, exported).await?;
            let start = self.folder.start().map_err(ExportError::Log)?;
            let situation =
                Situation { pending: pending.as_ref(), last: last.as_ref(), checkpoint: &checkpoint, start };
            let others = self.checkpoints.others(self.log).await?;
            match plan(situation, self.log, &others, now)? {
                Plan::Finish => manifests.finish()?,
                Plan::Repeat { manifest, exported } => {
                    lines += self.carry(&manifests, manifest, exported).await?;
                }
                Plan::New(Planned { manifest, exported }) => {
                    let manifest = Signed::new(manifest, self.key)?;
                    manifests.begin(&manifest)?;
                    lines += self.carry(&manifests, &manifest, exported).await?;
                    return Ok(Exported { lines, last: exported });
                }
            }
        }
    }

    fn kept(&self, manifests: &Manifests) -> Result<Kept, KeptError> {
        let own = self.key.public();
        let keys: Vec<_> = slice::from_ref(&own).iter().chain(self.earlier_keys).copied().collect();
        manifests.read(&keys)
    }

    /// Uploads lines and manifest, states it, and puts the manifest in its place. The answer is the count of lines.
    async fn carry(
        &self,
        manifests: &Manifests,
        manifest: &Signed<Manifest>,
        exported: u64,
    ) -> Result<u64, ExportError> {
        let folder = object_folder(self.log, self.writer);
        let mut lines = 0;
        for part in &manifest.statement.files {
            let bytes = self.packed(part).await?;
            self.destination.put(&format!("{folder}/{}.gz", part.name), bytes).await?;
            lines += part.lines;
        }
        let name = manifest_name(self.log, self.writer, manifest.statement.number);
        self.destination.put(&format!("{folder}/{name}"), kept::bytes(manifest)).await?;
        self.checkpoints.state(self.log, exported).await?;
        manifests.finish()?;
        Ok(lines)
    }

    /// The lines of a part, compressed the same way each time.
    async fn packed(&self, part: &Part) -> Result<Vec<u8>, ExportError> {
        let (folder, first, last) = (self.folder.clone(), part.first, part.last);
        let pack = move || {
            let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
            gzip.write_all(&folder.lines(first, last)?)?;
            gzip.finish()
        };
        let packed = tokio::task::spawn_blocking(pack).await.map_err(io::Error::other);
        packed.and_then(|packed| packed).map_err(ExportError::Log)
    }
}
