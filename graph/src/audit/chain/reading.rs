//! Reading a whole audit folder, of all writers and scopes.

use std::{fs, io, path::Path};

use super::{
    Folder, Line, LogName,
    folder::invalid,
    line::{decode, split},
};

/// Every whole line below the folder of an audit, writer by writer, log by log, in the order of their numbers. What is not
/// finished yet is left out. The chain is not judged: that is what [`super::verify()`] is for.
///
/// # Errors
/// A file cannot be read, or holds a line that is none.
pub fn read_all(dir: &Path) -> io::Result<Vec<Line>> {
    let mut all = Vec::new();
    for writer in folders(dir)? {
        for log in folders(&dir.join(&writer))?.iter().filter_map(|folder| LogName::of_folder(folder)) {
            let folder = Folder::new(dir.join(&writer).join(log.folder()));
            for segment in folder.segments()? {
                let path = folder.segment(segment);
                for line in split(&fs::read(&path)?).0 {
                    all.push(decode(line).map_err(|_| invalid(&path, "has a line that is none"))?);
                }
            }
        }
    }
    Ok(all)
}

fn folders(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
