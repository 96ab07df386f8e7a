//! What is made before the programs start: keys, certificates, ports.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    authority::{self, Authority, AuthorityError},
    flags::{Ports, file},
};

/// Why the files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file could not be written.
    #[error("control plane: cannot write {}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// Writes the files that the flags name; keys are readable by their owner only.
pub(crate) fn write_files(dir: &Path, authority: &Authority) -> Result<(), SetupError> {
    let server = authority.server()?;
    let (token_private, token_public) = authority::token_key()?;
    for (name, content) in [
        (file::CA, authority.certificate()),
        (file::SERVER_CERTIFICATE, &server.certificate),
        (file::SERVER_KEY, &server.key),
        (file::TOKEN_PRIVATE_KEY, &token_private),
        (file::TOKEN_PUBLIC_KEY, &token_public),
    ] {
        let path = dir.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|source| SetupError::File { path: path.clone(), source })?;
    }
    Ok(())
}

/// Ports that are free now. All are held at the same time, so that they differ.
pub(crate) fn free_ports() -> io::Result<Ports> {
    let [etcd_client, etcd_peer, api_server] = [(); 3].map(|()| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|held| Ok((held.local_addr()?.port(), held)))
    });
    let (etcd_client, etcd_peer, api_server) = (etcd_client?, etcd_peer?, api_server?);
    Ok(Ports { etcd_client: etcd_client.0, etcd_peer: etcd_peer.0, api_server: api_server.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let ports = free_ports().unwrap();
        let numbers = [ports.etcd_client, ports.etcd_peer, ports.api_server];
        let distinct: std::collections::HashSet<_> = numbers.into_iter().collect();
        assert_eq!(distinct.len(), 3, "{numbers:?}");
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), &Authority::new().unwrap()).unwrap();
        for name in [file::SERVER_KEY, file::TOKEN_PRIVATE_KEY] {
            assert_eq!(
                dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{name}"
            );
        }
    }
}
