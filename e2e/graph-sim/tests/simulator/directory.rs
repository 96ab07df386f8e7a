use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{App, GROUP, NESTED, SECOND_CLIENT, Sim, TENANT, USER, USER_2, world};

const EVENTUAL: (&str, &str) = ("ConsistencyLevel", "eventual");

async fn eventual(app: &App<'_>, path: &str) -> Value {
    app.call(Method::GET, path, &[EVENTUAL], None).await.expect(200).body
}

fn ids(page: &Value) -> Vec<String> {
    page["value"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn users_are_found_by_id_and_by_name() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    for key in [USER, "user1@contoso.example", "USER1@contoso.example"] {
        let user = app.get(&format!("/v1.0/users/{key}?$select=id,displayName")).await.expect(200);
        assert_eq!(user.text("id"), USER);
        assert_eq!(user.body.get("mail"), None);
        assert!(user.text("@odata.context").ends_with("/v1.0/$metadata#users(id,displayName)/$entity"));
    }
    let whole = app.get(&format!("/v1.0/users/{USER}")).await.expect(200);
    assert_eq!(whole.text("mail"), "user1@contoso.example");
    assert_eq!(whole.body.get("accountEnabled"), None, "comes only by name");
    let found =
        app.get("/v1.0/users?$select=id&$filter=userPrincipalName%20eq%20'user2@contoso.example'").await;
    assert_eq!(ids(&found.expect(200).body), [USER_2]);
    let group = app
        .get(&format!("/v1.0/groups/{GROUP}?$select=id,mailEnabled,securityEnabled,groupTypes"))
        .await
        .expect(200);
    assert_eq!(group.body["mailEnabled"], true);
    assert_eq!(group.body["groupTypes"], json!([]));
}

#[tokio::test]
async fn members_are_direct_or_transitive_and_cast_by_type() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let base = format!("/v1.0/groups/{GROUP}");
    let direct = app.get(&format!("{base}/members?$select=id,displayName")).await.expect(200).body;
    assert_eq!(ids(&direct), [USER, NESTED]);
    assert_eq!(direct["value"][0]["@odata.type"], "#microsoft.graph.user");
    assert_eq!(direct["value"][1]["@odata.type"], "#microsoft.graph.group");
    assert_eq!(direct["value"][1]["displayName"], "Nested");
    // The nested group holds its parent again.
    let all = app.get(&format!("{base}/transitiveMembers")).await.expect(200).body;
    assert_eq!(
        ids(&all).into_iter().collect::<BTreeSet<_>>(),
        [USER, USER_2, NESTED].map(str::to_owned).into()
    );
    for cast in ["microsoft.graph.user", "graph.user", "Microsoft.Graph.User"] {
        let users = eventual(&app, &format!("{base}/transitiveMembers/{cast}?$select=id&$count=true")).await;
        assert_eq!(ids(&users), [USER, USER_2]);
        assert_eq!(users["@odata.count"], 2);
    }
    let groups = eventual(&app, &format!("{base}/transitiveMembers/microsoft.graph.group?$count=true")).await;
    assert_eq!(ids(&groups), [NESTED]);
}

#[tokio::test]
async fn without_a_role_for_users_their_properties_are_null() {
    let mut world = world();
    world["tenants"][0]["apps"][0]["roles"] = json!(["GroupMember.Read.All"]);
    let sim = Sim::with(&world, None).await;
    let app = sim.app().await;
    let path = format!("/v1.0/groups/{GROUP}/transitiveMembers/graph.user?$select=id,mail&$count=true");
    let users = eventual(&app, &path).await;
    assert_eq!(users["value"][0], json!({"id": USER, "mail": null}));
}

#[tokio::test]
async fn large_groups_come_in_pages() {
    let mut world = world();
    let member = |number: usize| format!("00000000-0000-4000-8000-{number:012}");
    let users: Vec<Value> = (0..2_500)
        .map(|number| json!({"id": member(number), "userPrincipalName": format!("u{number}@contoso.example"), "displayName": "U"}))
        .collect();
    world["tenants"][0]["groups"] = json!([{
        "id": GROUP, "displayName": "Large", "mailEnabled": true, "securityEnabled": true,
        "members": (0..2_500).map(member).collect::<Vec<_>>(),
    }]);
    world["tenants"][0]["users"] = users.into();
    let sim = Sim::with(&world, None).await;
    let app = sim.app().await;
    let mut next = Some(sim.url(&format!(
        "/v1.0/groups/{GROUP}/transitiveMembers/microsoft.graph.user?$select=id&$count=true&$top=999"
    )));
    let mut seen = Vec::new();
    let mut pages = 0;
    while let Some(url) = next {
        if pages > 0 {
            // The header is needed on every page.
            app.get(&url).await.refused(400, "Request_UnsupportedQuery");
        }
        let page = eventual(&app, &url).await;
        assert_eq!(page.get("@odata.count").is_some(), pages == 0, "the count is on the first page only");
        assert_eq!(ids(&page).is_empty(), pages == 1, "the second page is empty and has more to follow");
        seen.extend(ids(&page));
        pages += 1;
        next = page.get("@odata.nextLink").map(|link| link.as_str().unwrap().to_owned());
        if let Some(link) = &next {
            let tampered = link.replace("$top=999", "$top=998");
            assert_ne!(&tampered, link);
            app.call(Method::GET, &tampered, &[EVENTUAL], None).await.refused(400, "BadRequest");
        }
    }
    assert_eq!((pages, seen.len()), (4, 2_500));
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 2_500);
    let default = app.get("/v1.0/users?$select=id").await.expect(200).body;
    assert_eq!(ids(&default).len(), 100);
    let mut next = default["@odata.nextLink"].as_str().map(str::to_owned);
    let (mut sizes, mut all) = (Vec::new(), ids(&default));
    while let Some(url) = next {
        let page = app.get(&url).await.expect(200).body;
        sizes.push(ids(&page).len());
        all.extend(ids(&page));
        next = page["@odata.nextLink"].as_str().map(str::to_owned);
    }
    assert_eq!((&sizes[..2], sizes.len(), all.len()), (&[0, 100][..], 25, 2_500));
}

#[tokio::test]
async fn members_come_and_go_by_reference() {
    let sim = Sim::start().await;
    let app = sim.app_as(SECOND_CLIENT).await;
    let members = format!("/v1.0/groups/{GROUP}/members");
    let there = async || {
        let page = app.get(&format!("{members}?$select=id")).await.expect(200).body;
        ids(&page).contains(&USER_2.to_owned())
    };
    let remove = format!("{members}/{USER_2}/$ref");
    app.delete(&remove).await.refused(404, "Request_ResourceNotFound");
    for reference in [
        format!("https://graph.microsoft.com/v1.0/directoryObjects/{USER_2}"),
        format!("{}/v1.0/users/{USER_2}", sim.running.origin),
        format!("directoryObjects/{USER_2}"),
    ] {
        let body = json!({"@odata.id": reference});
        app.post(&format!("{members}/$ref"), &body).await.expect(204);
        assert!(there().await, "{reference}");
        app.post(&format!("{members}/$ref"), &body).await.refused(400, "Request_BadRequest");
        app.delete(&remove).await.expect(204);
        assert!(!there().await);
    }
    for (body, status, code) in [
        (
            json!({"@odata.id": format!("https://graph.microsoft.com/v1.0/users/{TENANT}")}),
            404,
            "Request_ResourceNotFound",
        ),
        (json!({"@odata.id": "https://example.org/v1.0/users/x"}), 400, "Request_BadRequest"),
        (json!({}), 400, "BadRequest"),
        (json!({"@odata.id": format!("users/{USER_2}"), "other": 1}), 400, "RequestBodyRead"),
    ] {
        app.post(&format!("{members}/$ref"), &body).await.refused(status, code);
    }
}
