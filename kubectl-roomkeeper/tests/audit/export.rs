//! One writer's log, exported twice into a folder, and the plugin's program.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use roomkeeper_graph::{
    EventId, Purpose, UserId,
    audit::{
        AuditEntry, AuditSink, Cause,
        chain::{
            ChainedAudit, CheckpointChain, Hash, Head, Known, LogName, Manifest, Part, Signed, SigningKey,
            Start,
        },
    },
};
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) const SCOPE: &str = "rooms/contoso";
pub(crate) const WRITER: &str = "operator-0";
pub(crate) const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
pub(crate) const OTHER: &str = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0";

fn key() -> SigningKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let der = BASE64.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

pub(crate) fn at(minute: i64) -> Timestamp {
    let ten: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    ten + jiff::SignedDuration::from_mins(minute)
}

pub(crate) fn call(minute: i64, purpose: Purpose, method: &str, path: &str, cause: &str) -> AuditEntry {
    AuditEntry::Call {
        time: at(minute),
        scope: SCOPE.into(),
        tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
        client_id: "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11".into(),
        purpose,
        method: method.into(),
        url: format!("https://graph.microsoft.com/v1.0/{path}"),
        caused_by: Cause::new(cause),
        client_request_id: Uuid::from_u128(u128::try_from(minute).unwrap()),
        attempt: 1,
    }
}

/// What happened to two people within an hour.
pub(crate) fn entries() -> Vec<AuditEntry> {
    let (user, other) = ("CalendarSubscription/rooms/user1", "CalendarSubscription/rooms/user2");
    let property = "$expand=singleValueExtendedProperties($filter=id%20eq%20%27String%20%7B00020329-0000-0000-C000-000000000046%7D%20Name%20cecp-3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21%27)";
    vec![
        AuditEntry::ConsentGranted {
            time: at(1),
            scope: SCOPE.into(),
            tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
            user_id: UserId::parse(USER).unwrap(),
            consent: "consent-1".into(),
        },
        call(2, Purpose::CreateSubscription, "POST", "subscriptions", user),
        call(3, Purpose::CreateSubscription, "POST", "subscriptions", other),
        call(
            4,
            Purpose::GroupMembers,
            "GET",
            "groups/5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10/transitiveMembers/microsoft.graph.user?$select=id",
            "AccessScope/rooms/contoso",
        ),
        AuditEntry::Notification {
            time: at(5),
            scope: SCOPE.into(),
            tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
            user_id: UserId::parse(USER).unwrap(),
            event_id: EventId::parse("AAMkAD=").unwrap(),
            i_cal_u_id: None,
            caused_by: Cause::new(user),
        },
        call(
            6,
            Purpose::EventMinimalRead,
            "GET",
            &format!("users/{}/calendar/events/AAMkAD%3D?$select=id,iCalUId&{property}", USER.to_uppercase()),
            user,
        ),
        call(
            7,
            Purpose::EventMinimalRead,
            "GET",
            &format!("users/{OTHER}/calendar/events/AAMkAD%3D?$select=id,iCalUId"),
            other,
        ),
        call(
            8,
            Purpose::EventFullRead,
            "GET",
            &format!("users/{USER}/calendar/events/AAMkAD%3D?$select=id,subject,start,end"),
            user,
        ),
    ]
}

/// A folder with exports of one log, the checkpoint that the API server keeps, and the key.
pub(crate) struct Exported {
    pub(crate) folder: TempDir,
}

impl Exported {
    /// The entries in two exports; the second one is not carried away where `pending`.
    pub(crate) fn new(pending: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(Self::export(pending))
    }

    async fn export(pending: bool) -> Self {
        let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let out = folder.path().join("rooms_contoso").join(WRITER);
        fs::create_dir_all(&out).unwrap();
        let (log, key) = (LogName::of_scope(SCOPE).unwrap(), key());
        let audit = ChainedAudit::open(logs.path(), WRITER, 1_000).unwrap();
        let mut chain = CheckpointChain::resume(WRITER, log.clone(), None, Head::EMPTY).unwrap();
        let (mut exported, mut previous) = (0, Hash::ZERO);
        let all = entries();
        for (number, entries) in (1_u64..).zip(all.chunks(all.len() / 2)) {
            for entry in entries {
                audit.record(entry.clone()).await.unwrap();
            }
            let (head, time) = (audit.heads()[&log], entries.last().unwrap().time());
            let stated = chain.next(head, Start::FIRST, exported, time, &key).unwrap().clone();
            if pending && number == 2 {
                continue;
            }
            let (first, last) = (exported + 1, head.number);
            let name = format!("rooms_contoso.{WRITER}.{first:020}-{last:020}.jsonl");
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(&audit.folder(&log).lines(first, last).unwrap()).unwrap();
            fs::write(out.join(format!("{name}.gz")), gzip.finish().unwrap()).unwrap();
            let manifest = Manifest {
                writer: WRITER.into(),
                scope: SCOPE.into(),
                number,
                previous,
                time,
                files: vec![Part { name, first, last, lines: last - first + 1 }],
                writers: vec![Known { writer: WRITER.into(), checkpoints: vec![stated.envelope] }],
            };
            let signed = Signed::new(manifest, &key).unwrap();
            let name = format!("rooms_contoso.{WRITER}.{number:020}.manifest.json");
            fs::write(out.join(name), format!("{}\n", signed.envelope)).unwrap();
            (exported, previous) = (last, signed.hash);
            chain.next(head, Start::FIRST, exported, time, &key).unwrap();
        }
        let kept = format!("{}\n", chain.last().unwrap().envelope);
        fs::write(folder.path().join("kept.checkpoints.jsonl"), &kept).unwrap();
        let other = LogName::of_scope("rooms/fabrikam").unwrap();
        let mut others = CheckpointChain::resume(WRITER, other, None, Head::EMPTY).unwrap();
        let head = Head { number: 9, hash: Hash::ZERO };
        let others = others.next(head, Start::FIRST, 9, at(9), &key).unwrap();
        let all = format!("{}\n{kept}", others.envelope);
        fs::write(folder.path().join("all.checkpoints.jsonl"), all).unwrap();
        fs::write(folder.path().join("key.pem"), key.public().to_pem()).unwrap();
        Self { folder }
    }

    /// Every exported file.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let out = self.folder.path().join("rooms_contoso").join(WRITER);
        let mut files: Vec<_> = fs::read_dir(out).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files.push(self.folder.path().join("kept.checkpoints.jsonl"));
        files
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// Runs the plugin where it has no cluster: exit code, standard output, standard error.
pub(crate) fn plugin(arguments: &[&str], folder: &Path) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-roomkeeper"))
        .args(arguments)
        .current_dir(folder)
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The plugin's answer as JSON, with its exit code.
pub(crate) fn json(arguments: &[&str], folder: &Path) -> (i32, Value) {
    let (code, out, err) = plugin(&[arguments, &["-o", "json"]].concat(), folder);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}")))
}
