//! Copies for auditors: who is given one, and what it proves.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use futures::future::join_all;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use roomkeeper_controlplane::apply::apply_yaml;
use roomkeeper_crds::audit::{COPY_AUDIENCE, COPY_CERTIFICATE, COPY_PORT, COPY_SYSTEM_PATH, config_map};
use roomkeeper_graph::audit::chain::{File, LogName, Manifest, Report, Signed, verify};
use roomkeeper_service::{
    audit::DaemonAudit,
    audit_copy::{AuditCopies, router},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::{DEADLINE, Site, keep, write};

const MOST: usize = 1 << 20;

/// Two accounts: `auditor` may read the audit of the namespace's scopes, `other` may read the scopes.
async fn accounts(site: &Site) {
    let mut yaml = String::new();
    for (account, resource) in [("auditor", "accessscopes/audit"), ("other", "accessscopes")] {
        write!(
            yaml,
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {0}}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {account}, namespace: {0}}}\n\
             rules:\n- {{apiGroups: [roomkeeper.dev], resources: [{resource}], verbs: [get]}}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}, namespace: {0}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}}}\n\
             subjects: [{{kind: ServiceAccount, name: {account}, namespace: {0}}}]\n---\n",
            site.namespace
        )
        .unwrap();
    }
    apply_yaml(&site.admin, &yaml).await.unwrap();
}

async fn token(site: &Site, account: &str, audience: Option<&str>) -> String {
    let api: Api<ServiceAccount> = Api::namespaced(site.admin.clone(), &site.namespace);
    let audiences = audience.into_iter().map(str::to_owned).collect();
    let spec = TokenRequestSpec { audiences, expiration_seconds: Some(600), ..TokenRequestSpec::default() };
    let asked = TokenRequest { spec, ..TokenRequest::default() };
    let made = api.create_token_request(account, &PostParams::default(), &asked).await.unwrap();
    made.status.unwrap().token
}

fn answering(site: &Site, audit: &DaemonAudit) -> Router {
    router(site.admin.clone(), Arc::clone(&audit.sink), Arc::clone(&audit.checkpoints))
}

async fn get(router: &Router, path: &str, token: Option<&str>) -> (StatusCode, String) {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let bytes = to_bytes(answer.into_body(), MOST).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// What the verifier says of a copy, and how many lines it has.
async fn judged(site: &Site, copy: &str) -> (Report, usize) {
    let keys = site.keys().await;
    let (envelope, lines) = copy.split_once('\n').unwrap();
    let manifest = Signed::<Manifest>::open(envelope, &keys).unwrap().statement;
    let file = |name: &str, text: &str| File { name: name.to_owned(), bytes: text.as_bytes().to_vec() };
    let mut files = vec![file("a.manifest.json", &format!("{envelope}\n"))];
    let mut rest = lines.split_inclusive('\n');
    for part in &manifest.files {
        let own: String = rest.by_ref().take(part.lines.try_into().unwrap()).collect();
        files.push(file(&part.name, &own));
    }
    assert_eq!(rest.next(), None);
    (verify(&files, &keys), lines.lines().count())
}

#[tokio::test]
async fn a_copy_is_for_whom_the_cluster_lets_read_the_audit_of_that_scope() {
    let site = Site::new().await;
    let audit = site.operator().await;
    accounts(&site).await;
    let scope = format!("{}/contoso", site.namespace);
    write(&audit, &scope, 3).await;
    let router = answering(&site, &audit);
    let path = format!("/v1/logs/{scope}");
    let good = token(&site, "auditor", Some(COPY_AUDIENCE)).await;
    let [of_api_server, other] =
        [token(&site, "auditor", None).await, token(&site, "other", Some(COPY_AUDIENCE)).await];
    for (path, token, status, said) in [
        (path.as_str(), None, 401, "no token"),
        (&path, Some("e30.e30.e30"), 401, "made for the audience audit.roomkeeper.dev"),
        (&path, Some(&of_api_server), 401, "made for the audience audit.roomkeeper.dev"),
        (&path, Some(&other), 403, "needs get on accessscopes/audit"),
        ("/v1/logs/elsewhere/contoso", Some(&good), 403, "of elsewhere/contoso"),
        (COPY_SYSTEM_PATH, Some(&good), 403, "in every namespace"),
        (&format!("/v1/logs/{}/none", site.namespace), Some(&good), 404, "no line of"),
        ("/v1/logs/A_B/contoso", Some(&good), 404, "is no AccessScope's namespace and name"),
        (&format!("{path}?since=1"), Some(&good), 400, "unknown field"),
    ] {
        let (code, text) = get(&router, path, token.map(|token: &str| token)).await;
        assert_eq!(code.as_u16(), status, "{path}: {text}");
        assert!(text.contains(said), "{path}: {text}");
    }
    // Nothing was entered for anybody who was refused.
    let head = |log: &str| audit.sink.logs().heads()[&LogName::of_scope(log).unwrap()].number;
    assert_eq!(head(&scope), 3);
    let (code, copy) = get(&router, &path, Some(&good)).await;
    assert_eq!(code, StatusCode::OK, "{copy}");
    let (report, lines) = judged(&site, &copy).await;
    assert!(report.is_complete() && lines == 4, "{report:?}");
    let reader = format!("ServiceAccount/{}/auditor", site.namespace);
    assert!(copy.lines().last().unwrap().contains(&reader), "{copy}");
    assert!(!copy.contains(&good));
}

#[tokio::test]
async fn a_copy_of_what_is_pending_begins_after_the_last_export_and_counts_as_none() {
    let site = Site::new().await;
    let audit = site.operator().await;
    accounts(&site).await;
    let scope = format!("{}/contoso", site.namespace);
    let log = LogName::of_scope(&scope).unwrap();
    // More than one file has.
    join_all((0..20_200).map(|_| write(&audit, &scope, 1))).await;
    audit.checkpoints.checkpoint(&log, Some(2)).await.unwrap();
    let (router, token) = (answering(&site, &audit), token(&site, "auditor", Some(COPY_AUDIENCE)).await);
    let path = format!("/v1/logs/{scope}");
    let all = |path: String| {
        let (router, token) = (router.clone(), token.clone());
        async move {
            let request = Request::get(path).header("Authorization", format!("Bearer {token}"));
            let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            String::from_utf8(to_bytes(answer.into_body(), 64 << 20).await.unwrap().to_vec()).unwrap()
        }
    };
    let rest = all(format!("{path}?pending=true")).await;
    assert!(rest.lines().nth(1).unwrap().starts_with("{\"number\":3,"));
    let (report, lines) = judged(&site, &rest).await;
    assert_eq!((lines, report.findings.len()), (20_199, 1), "{:?}", report.findings);
    let (report, lines) = judged(&site, &all(path).await).await;
    assert!(report.is_complete() && lines == 20_202, "{report:?}");
    assert_eq!(audit.checkpoints.last(&log).await.unwrap().statement.exported, 2);
}

#[tokio::test]
async fn the_listener_is_announced_and_forgotten_with_its_process() {
    let site = Site::new().await;
    let announced = async || {
        let map = site.maps().get(&config_map("operator-0")).await.unwrap();
        let all = map.metadata.annotations.unwrap_or_default();
        all.get(COPY_PORT).cloned().zip(all.get(COPY_CERTIFICATE).cloned())
    };
    let mut args = Site::args();
    args.audit_listen = Some("127.0.0.1:0".parse().unwrap());
    let audit = site.operator_with(args).await;
    let copies = AuditCopies::bind(site.admin.clone(), &audit).await.unwrap();
    let (port, certificate) = announced().await.unwrap();
    assert!(port.parse::<u16>().unwrap() > 0 && certificate.contains("BEGIN CERTIFICATE"));
    // What is written later keeps it.
    write(&audit, super::SCOPE, 1).await;
    keep(&audit).await;
    assert_eq!(announced().await, Some((port, certificate)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(copies.run(stop.clone()));
    stop.cancel();
    tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap();
    drop(audit);

    let audit = site.operator().await;
    AuditCopies::bind(site.admin.clone(), &audit).await.unwrap();
    write(&audit, super::SCOPE, 1).await;
    keep(&audit).await;
    assert_eq!(announced().await, None);
}
