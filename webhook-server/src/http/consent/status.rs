//! The answer to `GET`: state, notice, and what the notice says about the handling of data. Pure.

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, ConsentRecord,
    access_scope::{Notice, PrivateSubject, WriteBack},
};
use serde_json::{Value, json};

use super::{
    register::Seen,
    state::{State, standing},
};

/// For those who read none of the languages of the notice.
const FALLBACK: &str = "en";

/// The body.
pub(super) fn status(scope: &AccessScope, seen: &Seen, language: Option<&str>) -> Value {
    let Seen { records, subscription } = seen;
    let consent = &scope.spec.consent;
    let state = State::of(scope, records, subscription.as_ref());
    let mut body = json!({
        "state": state.as_str(),
        "notice": {"version": consent.notice_version},
        "selfServiceWithdrawal": consent.self_service_withdrawal,
        "handling": handling(scope),
    });
    let mut put = |pointer: &str, name: &str, value: Option<Value>| {
        if let (Some(Value::Object(object)), Some(value)) = (body.pointer_mut(pointer), value) {
            object.insert(name.to_owned(), value);
        }
    };
    let text = notice(&consent.notices, language.unwrap_or(FALLBACK));
    put("/notice", "text", text.map(|notice| notice.text.as_str().into()));
    let stands = standing(records, &consent.notice_version).map(|record| {
        let granted = &record.spec.granted;
        json!({"name": record.name_any(), "grantedAt": time(granted.at.0), "noticeVersion": granted.notice_version})
    });
    put("", "consent", stands);
    if state == State::Withdrawn {
        put("", "withdrawnAt", last_withdrawal(records).map(|at| time(at).into()));
    }
    if let State::Trouble(reason) = state {
        put("", "reason", Some(reason.into()));
    }
    body
}

/// As the contract and the register write times.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn handling(scope: &AccessScope) -> Value {
    let booking = scope.spec.booking.as_ref();
    let retention = scope.spec.retention.clone().unwrap_or_default();
    json!({
        "keptAfterEndSeconds": scope.spec.kept_after_end().as_secs(),
        "onUnsubscribe": retention.on_unsubscribe,
        "purgedBookings": retention.purged_bookings,
        "privateSubject": booking.map_or_else(PrivateSubject::default, |booking| booking.private_subject),
        "writeBack": booking.map_or_else(WriteBack::default, |booking| booking.write_back),
        "passedOn": booking.is_some(),
    })
}

/// The notice in that language, in the language without its region, in English, or the first.
fn notice<'a>(all: &'a [Notice], language: &str) -> Option<&'a Notice> {
    let whole = |wanted: &str| all.iter().find(|notice| notice.language.eq_ignore_ascii_case(wanted));
    let base = |wanted: &str| {
        let wanted = primary(wanted);
        all.iter().find(|notice| primary(&notice.language).eq_ignore_ascii_case(wanted))
    };
    whole(language)
        .or_else(|| whole(primary(language)))
        .or_else(|| base(language))
        .or_else(|| whole(FALLBACK))
        .or_else(|| base(FALLBACK))
        .or_else(|| all.first())
}

fn primary(language: &str) -> &str {
    language.split('-').next().unwrap_or_default()
}

fn last_withdrawal(records: &[ConsentRecord]) -> Option<Timestamp> {
    let withdrawn = |record: &&ConsentRecord| record.spec.withdrawn.is_some();
    let last = records
        .iter()
        .filter(withdrawn)
        .max_by_key(|record| (record.spec.granted.at.0, record.name_any()))?;
    Some(last.spec.withdrawn.as_ref()?.at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(more: &str) -> AccessScope {
        let base = include_str!("state/scope.yaml");
        serde_yaml::from_str(&format!("{base}{more}")).unwrap()
    }

    fn nobody() -> Seen {
        Seen { records: Vec::new(), subscription: None }
    }

    #[test]
    fn what_the_notice_says_comes_from_the_scope() {
        let least = status(&scope(""), &nobody(), None);
        assert_eq!(
            least,
            json!({
                "state": "Asked", "notice": {"version": "2026-01"}, "selfServiceWithdrawal": false,
                "handling": {
                    "keptAfterEndSeconds": 0, "onUnsubscribe": "Purge", "purgedBookings": "Keep",
                    "privateSubject": "Mask", "writeBack": "None", "passedOn": false,
                },
            })
        );
        let most = scope(
            "  retention: {afterEnd: 1h30m, onUnsubscribe: KeepUntilEnd, purgedBookings: Cancel}\n  \
             booking: {url: \"https://booking.example\", privateSubject: Store, writeBack: Property}\n",
        );
        assert_eq!(
            status(&most, &nobody(), None)["handling"],
            json!({
                "keptAfterEndSeconds": 5400, "onUnsubscribe": "KeepUntilEnd", "purgedBookings": "Cancel",
                "privateSubject": "Store", "writeBack": "Property", "passedOn": true,
            })
        );
    }

    #[test]
    fn the_notice_is_in_the_language_of_the_reader_or_in_english() {
        let all = |languages: &[&str]| -> Vec<Notice> {
            let notice =
                |language: &&str| Notice { language: (*language).to_owned(), text: "…".to_owned() };
            languages.iter().map(notice).collect()
        };
        for (languages, wanted, expected) in [
            (&["en", "de"][..], "de", Some("de")),
            (&["en", "de"], "DE-ch", Some("de")),
            (&["en", "de", "de-CH"], "de-CH", Some("de-CH")),
            (&["en", "pt-BR"], "pt", Some("pt-BR")),
            (&["de", "en"], "fr", Some("en")),
            (&["de", "en-GB"], "fr", Some("en-GB")),
            (&["de", "nl"], "fr", Some("de")),
            (&["de", "en"], "", Some("en")),
            (&[], "de", None),
        ] {
            let all = all(languages);
            let found = notice(&all, wanted).map(|notice| notice.language.as_str());
            assert_eq!(found, expected, "{languages:?} {wanted}");
        }
    }
}
