//! The consent page, served by the program itself, and the API that it asks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use roomkeeper_crds::AccessScope;
use roomkeeper_service::scope_access::AllowedHosts;
use roomkeeper_webhook_server::http::addin::AddInState;
use serde_json::{Value, json};

use super::{
    authority::Authority,
    cluster::cluster,
    end_to_end::{Webhook, client_state_keys},
    world::{TENANT, World},
};

const SETTINGS: &str = "
defaults:
  publicUrl: https://roomkeeper.contoso.example/rooms
  clientId: 5a3c1e02-6f0d-4e57-9c1b-0c2d4f7a9b10
  addInId: c1f4f0de-2b0a-4b0e-8a1c-5d3a8f4f7a21
  displayName: Room bookings
  organisation: Contoso & Söhne
  supportUrl: https://support.contoso.example/rooms
  privacyUrl: https://contoso.example/privacy
  termsUrl: https://contoso.example/terms
scopes:
- {namespace: NAMESPACE, scope: contoso}
- {namespace: NAMESPACE, scope: unknown}
";

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn serving(folder: &Path) -> (World, Authority, Webhook) {
    let authority = Authority::start().await;
    let endpoints = json!({"authority": authority.origin, "graph": authority.origin});
    let world = World::with("addin", json!({"endpoints": endpoints})).await;
    client_state_keys(&world.cluster).await;
    let settings = SETTINGS.replace("NAMESPACE", &world.namespace);
    let webhook = Webhook::start_with(&world, &authority, |scratch, program| {
        let path = scratch.join("addin.yaml");
        fs::write(&path, settings).unwrap();
        program.arg("--addin-dir").arg(folder).arg("--addin-settings").arg(path)
    })
    .await;
    (world, authority, webhook)
}

#[tokio::test]
async fn the_page_is_filled_in_and_guarded() {
    let (world, authority, webhook) = serving(&own("tests/cluster/page")).await;
    let base = format!("{}/addin/{}/contoso", webhook.public, world.namespace);
    let get = async |path: &str| webhook.client.get(format!("{base}/{path}")).send().await.unwrap();
    let login = authority.origin.strip_prefix("https://").unwrap();

    let page = get("index.html").await;
    assert_eq!(page.status(), 200);
    for (name, expected) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-cache"),
        ("x-frame-options", ""),
        ("set-cookie", ""),
    ] {
        assert_eq!(header(&page, name), expected, "{name}");
    }
    assert_eq!(
        header(&page, "content-security-policy"),
        format!(
            "default-src 'none'; script-src 'self' https://appsforoffice.microsoft.com; connect-src 'self' https://{login}; \
             frame-ancestors https://outlook.office.com https://outlook.office365.com https://outlook.cloud.microsoft"
        )
    );
    let tag = header(&page, "etag").to_owned();
    let text = page.text().await.unwrap();
    let at = format!("https://roomkeeper.contoso.example/rooms/api/scopes/{}/contoso", world.namespace);
    assert_eq!(
        text.trim(),
        format!(
            "<!doctype html><title>Room bookings</title><p data-tenant=\"{TENANT}\" data-at=\"{at}\">Contoso &amp; Söhne</p>"
        )
    );
    let again =
        webhook.client.get(format!("{base}/index.html")).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.as_str()));
    assert!(header(&again, "content-security-policy").starts_with("default-src"));

    let script = get("pane.js").await;
    assert_eq!(header(&script, "content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.text().await.unwrap(), "// {{scope}} stays\n");
    for path in [
        "",
        "none.js",
        "content-security-policy.txt",
        "..%2fpage%2findex.html",
        "%2e%2e%2f%2e%2e%2fmain.rs",
        "..%5cpage%5cindex.html",
        "index.html%00",
        "index.html/x",
        "../unknown/index.html",
        "../other/index.html",
    ] {
        assert_eq!(get(path).await.status(), 404, "{path}");
    }
    assert_eq!(webhook.client.post(format!("{base}/index.html")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn the_page_as_it_is_built_is_served_whole_and_finds_its_api() {
    let dist = own("../addin/dist");
    if !dist.join("index.html").is_file() {
        eprintln!("skipped: addin/dist is not built ('make addin' builds it)");
        return;
    }
    let (world, authority, webhook) = serving(&dist).await;
    for entry in fs::read_dir(&dist).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let url = format!("{}/addin/{}/contoso/{name}", webhook.public, world.namespace);
        let answer = webhook.client.get(url).send().await.unwrap();
        if name == "content-security-policy.txt" {
            assert_eq!(answer.status(), 404);
            continue;
        }
        assert_eq!(answer.status(), 200, "{name}");
        let policy = header(&answer, "content-security-policy").to_owned();
        assert!(policy.starts_with("default-src 'none'; script-src 'self' https://"), "{policy}");
        assert!(!policy.contains("{{"), "{policy}");
        let bytes = answer.bytes().await.unwrap();
        if let [.., "html" | "xml" | "json"] = *name.split('.').collect::<Vec<_>>() {
            let text = std::str::from_utf8(&bytes).unwrap();
            assert!(!text.contains("{{"), "{name}");
            if name.ends_with("json") {
                serde_json::from_str::<Value>(text).unwrap();
            }
        } else {
            assert_eq!(bytes, fs::read(dist.join(&name)).unwrap(), "{name}");
        }
    }
    let api = format!("{}/api/scopes/{}/contoso/consent?language=en", webhook.public, world.namespace);
    let asked = webhook.client.get(&api).bearer_auth(authority.token(|_| ()));
    let status: Value = asked.send().await.unwrap().json().await.unwrap();
    assert_eq!((&status["state"], &status["handling"]["passedOn"]), (&json!("Pending"), &json!(false)));
}

#[tokio::test]
async fn what_is_missing_is_said_at_start() {
    let cluster = cluster().await;
    let error = |folder: &Path, settings: &str| {
        let hosts = AllowedHosts::new::<&str>([]).unwrap();
        AddInState::new(cluster.webhook.clone(), hosts, folder, settings).err().unwrap().to_string()
    };
    let page = own("tests/cluster/page");
    assert_eq!(
        error(&page, &SETTINGS.replace("  termsUrl: https://contoso.example/terms\n", "")),
        "--addin-settings: scope NAMESPACE/contoso has no termsUrl: give it there, or under defaults"
    );
    let folder = tempfile::tempdir().unwrap();
    assert!(error(folder.path(), SETTINGS).starts_with("--addin-dir: it has no content-security-policy.txt"));
    fs::copy(page.join("index.html"), folder.path().join("index.html")).unwrap();
    fs::write(folder.path().join("content-security-policy.txt"), "frame-ancestors {{organisation}}").unwrap();
    let unfit = error(folder.path(), SETTINGS);
    assert!(unfit.contains("the value of {{organisation}} cannot stand in a header"), "{unfit}");
    fs::write(folder.path().join("content-security-policy.txt"), "default-src 'none'\n").unwrap();
    fs::write(folder.path().join("index.html"), "{{nothing}}").unwrap();
    let missing = error(folder.path(), SETTINGS);
    assert!(missing.contains("index.html: there is no setting for the placeholder {{nothing}}"), "{missing}");
    assert!(error(&folder.path().join("none"), SETTINGS).starts_with("--addin-dir: the folder: "));
}

#[tokio::test]
async fn a_scope_that_goes_takes_its_page_along() {
    let (world, _authority, webhook) = serving(&own("tests/cluster/page")).await;
    let url = format!("{}/addin/{}/contoso/index.html", webhook.public, world.namespace);
    let scopes: Api<AccessScope> = Api::namespaced(world.cluster.admin.clone(), &world.namespace);
    scopes.delete("contoso", &DeleteParams::default()).await.unwrap();
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let _ = scopes.patch("contoso", &PatchParams::default(), &none).await;
    assert_eq!(webhook.client.get(url).send().await.unwrap().status(), 404);
}
