//! Where an AccessScope's audit is exported to, and when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule;

/// What becomes of the audit of this scope.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Exports of this scope's logs, and of no other's. Without it, nothing is exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<AuditExport>,
}

/// When each writer exports what is new in its log of this scope, and where to.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditExport {
    /// When to export: minute, hour, day of the month, month and day of the week, as cron has them, such as `0 2 * * *`. A time that
    /// the clocks skip is made up for right after; one that they show twice counts once. A time that was missed is made up for once.
    #[schemars(length(min = 9, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$')").message("schedule must have the five fields of cron, separated by single spaces, such as 0 2 * * *"))]
    pub schedule: String,
    /// Time zone of the schedule, by its name in the IANA database, such as `Europe/Berlin`.
    #[serde(default = "default_time_zone")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$')").message("timeZone must be a name of the IANA database, such as Europe/Berlin or UTC"))]
    pub time_zone: String,
    /// Where to.
    pub destination: Destination,
}

fn default_time_zone() -> String {
    "UTC".to_owned()
}

/// A folder, a bucket of S3 or a container of Azure Blob Storage.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.region) == self.url.startsWith('s3://')")
        .message("region must be given for s3 and for nothing else"),
    validation = Rule::new("!(has(self.endpoint) && self.url.startsWith('file:'))")
        .message("endpoint must not be given for a folder"),
    validation = Rule::new("[has(self.secretName), has(self.serviceAccountName)].filter(named, named).size() == (self.url.startsWith('file:') ? 0 : 1)")
        .message("s3 and az need exactly one of secretName and serviceAccountName, and a folder none")
)]
pub struct Destination {
    /// `file:///FOLDER`, `s3://BUCKET/PREFIX` or `az://ACCOUNT/CONTAINER/PREFIX`; the prefix may be left out. A folder must lie below the
    /// one that the daemons' `--audit-export-folder` allows. Names of objects begin with the scope and the writer, so that scopes may
    /// share a destination.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^(file:///|s3://[a-z0-9][a-z0-9.-]+(/|$)|az://[a-z0-9]+/[a-z0-9-]+(/|$))[A-Za-z0-9._/-]*$') && !self.contains('..') && !self.substring(7).contains('//')").message("url must be file:///FOLDER, s3://BUCKET/PREFIX or az://ACCOUNT/CONTAINER/PREFIX with letters, digits, '.', '_', '-' and single '/', without '..'"))]
    pub url: String,
    /// Endpoint of the storage where it is not the cloud's own, such as `https://minio.example` or
    /// `https://account.blob.core.usgovcloudapi.net`. Its host, or else `s3.REGION.amazonaws.com` or
    /// `ACCOUNT.blob.core.windows.net`, must be given to both daemons with `--allowed-host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::https_url("endpoint"))]
    pub endpoint: Option<String>,
    /// Region of the bucket, which requests to S3 are signed for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("region must be a region such as eu-central-1"))]
    pub region: Option<String>,
    /// Secret of the same namespace: for s3 the keys `accessKeyId`, `secretAccessKey` and where there is one `sessionToken`; for az the
    /// key `accountKey` or `sasToken`. Both daemons may read it only when a Role of the namespace holds its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("secretName"))]
    pub secret_name: Option<String>,
    /// Service account of the same namespace whose tokens the storage's cloud trusts: with the annotation
    /// `eks.amazonaws.com/role-arn` for s3, `azure.workload.identity/client-id` and `azure.workload.identity/tenant-id` for az. No
    /// secret to store or to rotate. Both daemons may ask for its tokens only when a Role of the namespace holds its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("serviceAccountName"))]
    pub service_account_name: Option<String>,
}

/// How far the audit's exports are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AuditStatus {
    /// When the last export of this scope was whole at the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exported_at: Option<Time>,
}
