//! A destination as a custom resource names it, validated. Pure but for the folder's links.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use roomkeeper_crds::audit_export::Destination;
use url::Url;

use crate::scope_access::{AllowedHosts, HostNotAllowed};

/// A destination that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A folder of the pod, below the one that a flag allows.
    Folder {
        /// The folder, without links; it exists.
        folder: PathBuf,
    },
    /// A bucket.
    S3 {
        /// Its name.
        bucket: String,
        /// What the names of all objects begin with; may be empty.
        prefix: String,
        /// Region that requests are signed for.
        region: String,
        /// Origin of the API; the bucket is the first part of the path.
        endpoint: Url,
        /// Origin at which tokens of a service account are exchanged.
        sts: Url,
    },
    /// A container.
    Azure {
        /// Storage account.
        account: String,
        /// Its name.
        container: String,
        /// What the names of all objects begin with; may be empty.
        prefix: String,
        /// Where the containers of the account are.
        endpoint: Url,
    },
}

/// Why a destination must not be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its host is not on the allow list.
    #[error(transparent)]
    Host(#[from] HostNotAllowed),
    /// No folder is allowed at all.
    #[error(
        "spec.audit.export.destination.url: no folder may be exported to: start the daemons with --audit-export-folder, or name s3 or az"
    )]
    NoFolder,
    /// The folder is elsewhere.
    #[error("spec.audit.export.destination.url: the folder is not below {allowed}: name one that is")]
    Outside {
        /// The folder that a flag allows.
        allowed: String,
    },
    /// The folder cannot be made or read.
    #[error("spec.audit.export.destination.url: the folder cannot be used: {cause}")]
    Folder {
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The API server's rules let it through, and it still means nothing.
    #[error("spec.audit.export.destination.{field} is not valid: {fix}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What to write.
        fix: &'static str,
    },
}

const ENDPOINT: &str = "spec.audit.export.destination.endpoint";
const URL: &str = "spec.audit.export.destination.url";

/// Domains of AWS, one for each partition: commercial and GovCloud, China, European sovereign cloud, and the isolated ones. Source:
/// `dnsSuffix` in `partitions.json` of the AWS SDKs.
const AWS: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

impl Target {
    /// Checks a destination. `folder` is the one below which folders may be; without it, none may.
    ///
    /// A folder is made where it does not exist yet.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub fn new(
        destination: &Destination,
        hosts: &AllowedHosts,
        folder: Option<&Path>,
    ) -> Result<Self, TargetError> {
        let invalid = TargetError::Invalid {
            field: "url",
            fix: "write file:///FOLDER, s3://BUCKET/PREFIX or az://ACCOUNT/CONTAINER/PREFIX",
        };
        let Some((scheme, rest)) = destination.url.split_once("://") else { return Err(invalid) };
        match scheme {
            "file" => Self::folder(rest, folder),
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let region = destination.region.as_deref().filter(|region| is_label(region));
                let region = region.ok_or(TargetError::Invalid {
                    field: "region",
                    fix: "write the region of the bucket, such as eu-central-1",
                })?;
                let own = format!("https://s3.{region}.amazonaws.com");
                let endpoint = endpoint(destination, &own, hosts)?;
                let (bucket, prefix, region) = (bucket.to_owned(), clean(prefix), region.to_owned());
                let sts = sts(&endpoint, &region)?;
                Ok(Self::S3 { bucket, prefix, region, endpoint, sts })
            }
            "az" => {
                let (account, rest) = rest.split_once('/').ok_or(invalid)?;
                let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if !is_label(account) || container.is_empty() {
                    return Err(TargetError::Invalid {
                        field: "url",
                        fix: "write az://ACCOUNT/CONTAINER/PREFIX",
                    });
                }
                let own = format!("https://{account}.blob.core.windows.net");
                let endpoint = endpoint(destination, &own, hosts)?;
                let (account, container) = (account.to_owned(), container.to_owned());
                Ok(Self::Azure { account, container, prefix: clean(prefix), endpoint })
            }
            _ => Err(invalid),
        }
    }

    fn folder(path: &str, allowed: Option<&Path>) -> Result<Self, TargetError> {
        let allowed = allowed.ok_or(TargetError::NoFolder)?;
        let outside = || TargetError::Outside { allowed: allowed.display().to_string() };
        let cannot = |cause| TargetError::Folder { cause };
        let path = Path::new(path);
        if !path.is_absolute() || path.components().any(|part| matches!(part, Component::ParentDir)) {
            return Err(outside());
        }
        let allowed = fs::canonicalize(allowed).map_err(cannot)?;
        // A link on the way must not lead out before anything is made behind it.
        let mut there = path;
        while !there.exists() {
            there = there.parent().ok_or_else(outside)?;
        }
        // What of the way does not exist yet may only be missing below the allowed folder.
        if !fs::canonicalize(there).map_err(cannot)?.starts_with(&allowed) {
            return Err(outside());
        }
        fs::create_dir_all(path).map_err(cannot)?;
        let folder = fs::canonicalize(path).map_err(cannot)?;
        if folder.starts_with(&allowed) { Ok(Self::Folder { folder }) } else { Err(outside()) }
    }
}

fn endpoint(destination: &Destination, own: &str, hosts: &AllowedHosts) -> Result<Url, TargetError> {
    let (field, text) = destination.endpoint.as_deref().map_or((URL, own), |endpoint| (ENDPOINT, endpoint));
    let url = Url::parse(text).map_err(|_| TargetError::Invalid {
        field: "endpoint",
        fix: "write an https URL such as https://minio.example:9000",
    })?;
    hosts.check(field, &url)?;
    Ok(url)
}

/// Where a storage exchanges tokens: AWS has a host of its own for that in each region; what else speaks S3, as MinIO and Ceph do, has
/// it at the same origin. So a token goes nowhere but to whom the destination is anyway, whose host is allowed.
fn sts(endpoint: &Url, region: &str) -> Result<Url, TargetError> {
    let host = endpoint.host_str().unwrap_or_default();
    let is_of = |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.ends_with('.'));
    let Some(domain) = AWS.iter().find(|domain| is_of(domain)) else { return Ok(endpoint.clone()) };
    Url::parse(&format!("https://sts.{region}.{domain}")).map_err(|_| TargetError::Invalid {
        field: "region",
        fix: "write the region of the bucket, such as eu-central-1",
    })
}

/// What can be part of a host's name.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn clean(prefix: &str) -> String {
    prefix.trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn destination(url: &str) -> Destination {
        Destination {
            url: url.to_owned(),
            endpoint: None,
            region: url.starts_with("s3:").then(|| "eu-central-1".to_owned()),
            secret_name: None,
            service_account_name: None,
        }
    }

    fn hosts(hosts: &str) -> AllowedHosts {
        hosts.parse().unwrap()
    }

    #[test]
    fn the_clouds_own_hosts_have_to_be_allowed_too() {
        let target =
            Target::new(&destination("s3://bucket/a/b/"), &hosts("s3.eu-central-1.amazonaws.com"), None);
        assert_eq!(
            target.unwrap(),
            Target::S3 {
                bucket: "bucket".to_owned(),
                prefix: "a/b".to_owned(),
                region: "eu-central-1".to_owned(),
                endpoint: Url::parse("https://s3.eu-central-1.amazonaws.com").unwrap(),
                sts: Url::parse("https://sts.eu-central-1.amazonaws.com").unwrap(),
            }
        );
        let target = Target::new(&destination("az://acc/box"), &hosts("acc.blob.core.windows.net"), None);
        assert_eq!(
            target.unwrap(),
            Target::Azure {
                account: "acc".to_owned(),
                container: "box".to_owned(),
                prefix: String::new(),
                endpoint: Url::parse("https://acc.blob.core.windows.net").unwrap(),
            }
        );
        for url in ["s3://bucket", "az://acc/box"] {
            let error =
                Target::new(&destination(url), &hosts("other.example"), None).unwrap_err().to_string();
            assert!(error.starts_with("spec.audit.export.destination.url: host "), "{error}");
            assert!(error.contains("--allowed-host"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_of_ones_own_is_checked_by_its_own_name() {
        let mut one = destination("s3://bucket");
        one.endpoint = Some("https://minio.example:9000".to_owned());
        assert!(Target::new(&one, &hosts("minio.example:9000"), None).is_ok());
        let error = Target::new(&one, &hosts("minio.example"), None).unwrap_err().to_string();
        assert!(
            error.starts_with("spec.audit.export.destination.endpoint: host minio.example:9000"),
            "{error}"
        );
        one.endpoint = Some("http://minio.example:9000".to_owned());
        assert!(Target::new(&one, &hosts("minio.example:9000"), None).is_err());
    }

    #[test]
    fn tokens_are_exchanged_at_the_destinations_own_sts() {
        for (endpoint, region, expected) in [
            // MinIO and Ceph; the name of a stranger that looks like AWS.
            ("https://minio.example:9000", "eu-central-1", "https://minio.example:9000/"),
            ("https://s3.evilamazonaws.com", "us-east-1", "https://s3.evilamazonaws.com/"),
            ("https://amazonaws.com.evil.example", "us-east-1", "https://amazonaws.com.evil.example/"),
            // AWS: GovCloud with FIPS, a VPC's endpoint, China.
            (
                "https://s3-fips.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
                "https://sts.us-gov-west-1.amazonaws.com/",
            ),
            (
                "https://bucket.vpce-1a2b-3c.s3.us-east-1.vpce.amazonaws.com",
                "us-east-1",
                "https://sts.us-east-1.amazonaws.com/",
            ),
            (
                "https://s3.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "https://sts.cn-north-1.amazonaws.com.cn/",
            ),
        ] {
            assert_eq!(sts(&endpoint.parse().unwrap(), region).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let all = hosts("s3.eu-central-1.amazonaws.com,acc.blob.core.windows.net");
        for wrong in
            ["bucket", "gs://bucket", "az://acc", "az://acc/", "az://a.evil.example:1/x", "https://acc/box"]
        {
            assert!(Target::new(&destination(wrong), &all, None).is_err(), "{wrong}");
        }
        let mut one = destination("s3://bucket");
        for region in [None, Some(""), Some("x.evil.example/")] {
            one.region = region.map(str::to_owned);
            let error = Target::new(&one, &all, None).unwrap_err().to_string();
            assert!(error.starts_with("spec.audit.export.destination.region"), "{error}");
        }
    }

    #[test]
    fn a_folder_is_made_below_the_allowed_one_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let (allowed, other) = (root.join("exports"), root.join("other"));
        fs::create_dir(&allowed).unwrap();
        fs::create_dir(&other).unwrap();
        symlink(&other, allowed.join("link")).unwrap();
        let at = |path: &Path| {
            let url = format!("file://{}", path.display());
            Target::new(&destination(&url), &AllowedHosts::default(), Some(&allowed))
        };
        let inner = allowed.join("contoso/audit");
        assert_eq!(at(&inner).unwrap(), Target::Folder { folder: inner.clone() });
        assert!(inner.is_dir());
        for wrong in ["other", "exports/../other", "exports/link/new", "exports2", ""] {
            let path = root.join(wrong);
            assert!(matches!(at(&path), Err(TargetError::Outside { .. })), "{wrong}");
        }
        assert!(!other.join("new").exists() && !root.join("exports2").exists());
        let none = Target::new(&destination("file:///exports"), &AllowedHosts::default(), None);
        assert!(matches!(none, Err(TargetError::NoFolder)));
    }
}
