use super::*;

fn scope(more: &str) -> AccessScope {
    serde_yaml::from_str(&format!("{}{more}", include_str!("scope.yaml"))).unwrap()
}

/// Granted on that day of the month, to that notice, and withdrawn or not.
fn record(day: u8, notice: &str, withdrawn: bool) -> ConsentRecord {
    let end = if withdrawn { "{at: \"2026-06-30T10:00:00Z\", by: support, reason: T-1}" } else { "null" };
    serde_yaml::from_str(&format!(
        "
metadata: {{name: consent-{day}, namespace: contoso}}
spec:
  scope: {{name: contoso, uid: 5f3f7a10-2c1d-4d8e-9a51-4b1c5d6f5a5e, tenantId: t, clientId: c}}
  user: {{id: u, principalName: user1@contoso.example}}
  granted: {{at: \"2026-06-{day:02}T09:30:00Z\", method: AddIn, noticeVersion: \"{notice}\"}}
  withdrawn: {end}
"
    ))
    .unwrap()
}

/// With conditions such as `Allowed=False/OutOfScope`, by that consent.
fn subscription(conditions: &str, consent: &str) -> CalendarSubscription {
    let conditions: Vec<String> = conditions
        .split_whitespace()
        .map(|one| {
            let (type_, rest) = one.split_once('=').unwrap();
            let (status, reason) = rest.split_once('/').unwrap();
            format!(
                "  - {{type: {type_}, status: \"{status}\", reason: {reason}, message: m, lastTransitionTime: \"2026-06-01T00:00:00Z\"}}\n"
            )
        })
        .collect();
    let conditions =
        if conditions.is_empty() { " []\n".to_owned() } else { format!("\n{}", conditions.concat()) };
    serde_yaml::from_str(&format!(
        "
metadata: {{name: user1, namespace: contoso}}
spec: {{scopeRef: {{name: contoso}}, user: user1@contoso.example}}
status:
  consent: {{name: {consent}, grantedAt: \"2026-06-01T09:30:00Z\"}}
  conditions:{conditions}"
    ))
    .unwrap()
}

fn trouble(reason: &str) -> State {
    State::Trouble(reason.to_owned())
}

#[test]
fn the_first_state_that_fits() {
    let (now, old) = ("2026-01", "2025-07");
    let stands = || vec![record(1, now, false)];
    let sub = |conditions| Some(subscription(conditions, "consent-1"));
    let lives = "Allowed=True/ConsentGranted Subscribed=True/Created";
    for (state, records, subscription) in vec![
        (State::Asked, vec![], None),
        (State::Asked, vec![], sub(lives)),
        (State::Withdrawn, vec![record(1, now, true)], None),
        (State::Withdrawn, vec![record(1, now, true)], sub(lives)),
        (State::Withdrawn, vec![record(1, old, false), record(2, now, true)], sub(lives)),
        (State::OutOfScope, stands(), sub("Allowed=False/OutOfScope Subscribed=False/NotAllowed")),
        (State::OutOfScope, vec![record(1, old, false)], sub("Allowed=False/OutOfScope")),
        (State::NoticeOutdated, vec![record(1, old, false)], sub(lives)),
        (State::NoticeOutdated, vec![record(1, old, false)], sub("Allowed=False/NoticeOutdated")),
        (State::NoticeOutdated, vec![record(1, old, false)], sub("Stalled=True/Duplicate")),
        (trouble("Duplicate"), stands(), sub("Allowed=False/Duplicate Stalled=True/Duplicate")),
        (trouble("PolicyDenied"), stands(), sub("Allowed=False/PolicyDenied")),
        (trouble("UserNotFound"), stands(), sub("Allowed=False/UserNotFound")),
        (trouble("MailboxUnavailable"), stands(), sub("Subscribed=False/MailboxUnavailable")),
        (trouble("QuotaExceeded"), stands(), sub("Subscribed=False/QuotaExceeded")),
        (trouble("ForeignSubscription"), stands(), sub("Subscribed=False/ForeignSubscription")),
        (trouble("EndpointValidationFailed"), stands(), sub("Subscribed=False/EndpointValidationFailed")),
        (State::Subscribed, stands(), sub(lives)),
        (State::Subscribed, vec![record(1, old, false), record(2, now, false)], sub(lives)),
        (State::Subscribed, stands(), sub("Subscribed=True/RenewalFailed Delivering=Unknown/NoTrafficYet")),
        (State::Pending, stands(), None),
        (State::Pending, stands(), sub("")),
        (State::Pending, stands(), sub("Allowed=Unknown/ScopeNotReady")),
        (State::Pending, stands(), sub("Allowed=False/AwaitingConsent Subscribed=False/NotAllowed")),
        (State::Pending, stands(), sub("Subscribed=False/Throttled Reconciling=True/Throttled")),
        (State::Pending, stands(), sub("Subscribed=Unknown/RemoteError")),
        (State::Pending, vec![record(1, now, true), record(2, now, false)], sub(lives)),
    ] {
        let found = State::of(&scope(""), &records, subscription.as_ref());
        assert_eq!(found, state, "{records:?} {subscription:?}");
    }
}

#[test]
fn a_subscription_that_was_deleted_while_the_consent_stands_is_trouble() {
    let mut stands = record(1, "2026-01", false);
    stands.status = Some(serde_json::from_value(serde_json::json!({"subscription": "user1"})).unwrap());
    let records = [stands];
    assert_eq!(State::of(&scope(""), &records, None), trouble("SubscriptionDeleted"));
    assert_eq!(State::of(&scope("  suspend: true\n"), &records, None), State::Paused);
    assert_eq!(State::of(&scope(""), &records, Some(&subscription("", "consent-1"))), State::Pending);
}

#[test]
fn a_pause_shows_before_everything_that_a_consent_leads_to() {
    let out = || subscription("Allowed=False/OutOfScope Stalled=True/Duplicate", "consent-1");
    let suspended = scope("  suspend: true\n");
    let (stands, old) = ([record(1, "2026-01", false)], [record(1, "2025-07", false)]);
    assert_eq!(State::of(&suspended, &stands, None), State::Paused);
    assert_eq!(State::of(&suspended, &old, Some(&out())), State::Paused);
    assert_eq!(State::of(&suspended, &[], None), State::Asked);
    let mut one = out();
    one.spec.suspend = true;
    assert_eq!(State::of(&scope(""), &stands, Some(&one)), State::Paused);
}

#[test]
fn of_several_consents_the_one_to_the_current_notice_is_shown() {
    let name = |records: &[ConsentRecord], notice| standing(records, notice).map(kube::ResourceExt::name_any);
    let both = [record(1, "2025-07", false), record(2, "2026-01", false)];
    assert_eq!(name(&both, "2026-01").as_deref(), Some("consent-2"));
    assert_eq!(name(&both, "2025-07").as_deref(), Some("consent-1"), "a notice that was taken back");
    assert_eq!(name(&both, "2027-01").as_deref(), Some("consent-2"));
    assert_eq!(name(&[record(1, "2026-01", true)], "2026-01"), None);
}
