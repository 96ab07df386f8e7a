//! What to run: the same few settings as `std::process::Command`.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// A program with its arguments and environment, to be given to [`Supervised::spawn`](super::Supervised::spawn).
///
/// It is a type of its own because a `Command` does not tell whether its environment was cleared.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, Option<OsString>)>,
    pub(super) clear_env: bool,
    pub(super) current_dir: Option<PathBuf>,
}

impl Program {
    /// A path, or a bare name that is looked up in `PATH`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new(), clear_env: false, current_dir: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Takes away an environment variable that would be inherited.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), None));
        self
    }

    /// Nothing is inherited but `PATH`; variables set before and after this call stay.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// The folder to run in; the current one if not set.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// The file name without its folder, for messages.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The executable file that will run, if there is one.
    pub fn resolve(&self) -> Option<PathBuf> {
        if self.path.components().count() > 1 || self.path.is_absolute() {
            return is_executable(&self.path).then(|| self.path.clone());
        }
        let search = env::var_os("PATH")?;
        env::split_paths(&search).map(|folder| folder.join(&self.path)).find(|file| is_executable(file))
    }
}

/// True if `file` is a regular file that somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_up_and_a_path_is_taken_as_it_is() {
        let shell = Program::new("sh").resolve().unwrap();
        assert!(shell.is_absolute() && shell.ends_with("sh"), "{}", shell.display());
        assert_eq!(Program::new("/bin/sh").resolve().unwrap(), Path::new("/bin/sh"));
        assert_eq!(Program::new("/etc/passwd").resolve(), None, "not executable");
        assert_eq!(Program::new("no-such-program-anywhere").resolve(), None);
        assert_eq!(Program::new("/bin/sh").name(), "sh");
    }
}
