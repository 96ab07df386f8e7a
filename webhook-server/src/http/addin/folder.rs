//! The built page, read once: what is not in memory cannot be asked for, whatever a path says.

use std::{collections::BTreeMap, fs, io, path::Path};

use bytes::Bytes;

use super::fill::Template;

/// The policy of the page; a header of each answer and no file of its own.
const POLICY: &str = "content-security-policy.txt";
/// Most files.
const MAX_FILES: usize = 100;
/// Most bytes of all files.
const MAX_BYTES: usize = 16 << 20;

/// The files by name.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) policy: Template,
    pub(super) files: BTreeMap<String, File>,
}

/// One file.
#[derive(Debug)]
pub(super) enum File {
    Template(Template),
    AsItIs(Bytes),
}

/// A folder that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("{name}: {source}")]
    Io {
        /// Of the file, or of the folder.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It is not what `npm run build` writes.
    #[error("it has no {0}: is it the folder dist that 'npm run build' of addin/ writes?")]
    Incomplete(&'static str),
    /// There is more in it than belongs there.
    #[error("it has more than {MAX_FILES} files, or more than {MAX_BYTES} bytes")]
    TooLarge,
    /// A template is no text.
    #[error("{0} is no UTF-8")]
    NoText(String),
}

impl Folder {
    pub(super) fn read(path: &Path) -> Result<Self, FolderError> {
        let io = |name: &str| {
            let name = name.to_owned();
            move |source| FolderError::Io { name, source }
        };
        let (mut files, mut bytes) = (BTreeMap::new(), 0);
        for entry in fs::read_dir(path).map_err(io("the folder"))? {
            let entry = entry.map_err(io("the folder"))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A volume of a ConfigMap holds the files as links into a hidden folder.
            let metadata = fs::metadata(entry.path()).map_err(io(&name))?;
            if name.starts_with('.') || !metadata.is_file() {
                continue;
            }
            let size = usize::try_from(metadata.len()).map_err(|_| FolderError::TooLarge)?;
            bytes += size.min(MAX_BYTES);
            if bytes >= MAX_BYTES || files.len() >= MAX_FILES {
                return Err(FolderError::TooLarge);
            }
            let content = fs::read(entry.path()).map_err(io(&name))?;
            files.insert(name.clone(), file(name, content)?);
        }
        let Some(File::Template(policy)) = files.remove(POLICY) else {
            return Err(FolderError::Incomplete(POLICY));
        };
        if !files.contains_key("index.html") {
            return Err(FolderError::Incomplete("index.html"));
        }
        Ok(Self { policy, files })
    }
}

fn file(name: String, content: Vec<u8>) -> Result<File, FolderError> {
    if Template::of(&name, "").is_none() {
        return Ok(File::AsItIs(content.into()));
    }
    let text = String::from_utf8(content).map_err(|_| FolderError::NoText(name.clone()))?;
    // The policy's line ends where the file does.
    let text = if name == POLICY { text.trim_end() } else { &text };
    Template::of(&name, text).map(File::Template).ok_or(FolderError::NoText(name))
}
