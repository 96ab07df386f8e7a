//! Errors of uploads in words.

use std::error::Error;

use object_store::client::{HttpError, HttpErrorKind};

use super::{Credential, Trust};

/// The exchange that comes before an upload with the token of a service account.
#[derive(Debug)]
pub(super) struct Exchange {
    account: String,
    /// Who exchanges it.
    with: &'static str,
    /// What its owner has to do where it is refused.
    fix: &'static str,
    /// Fields that say where it takes place.
    place: &'static str,
}

/// Fields that say where the storage is.
const PLACE: &str = "spec.audit.export.destination (endpoint; for S3 region too)";

impl Exchange {
    /// `None` where no token is exchanged.
    pub(super) fn of(credential: &Credential) -> Option<Self> {
        let Credential::Identity { account, trust, .. } = credential else { return None };
        let (with, fix, place) = match trust {
            Trust::Role { .. } => (
                "the STS",
                "let the role of its annotation eks.amazonaws.com/role-arn trust the cluster's issuer with the audience sts.amazonaws.com and this ServiceAccount as subject",
                "spec.audit.export.destination (endpoint; for AWS region)",
            ),
            Trust::Application { .. } => (
                "Entra",
                "give the application of its annotation azure.workload.identity/client-id a federated credential with the cluster's issuer, the audience api://AzureADTokenExchange and this ServiceAccount as subject",
                "spec.endpoints.authority",
            ),
        };
        Some(Self { account: account.clone(), with, fix, place })
    }
}

/// An error in words. The library's own text quotes URLs, and with them shared access signatures, and what the storage answered, and
/// with that parts of what was signed.
pub(super) fn told(error: &object_store::Error, exchange: Option<&Exchange>) -> String {
    match error {
        object_store::Error::PermissionDenied { .. } => {
            let who = exchange.map_or_else(
                || "the credential".to_owned(),
                |exchange| format!("what ServiceAccount {} stands for", exchange.account),
            );
            format!("the storage refuses it (403): {who} lacks the permission to write there")
        }
        object_store::Error::Unauthenticated { .. } => {
            "the storage does not accept the credential (401)".to_owned()
        }
        object_store::Error::NotFound { .. } => "the bucket, container or folder does not exist".to_owned(),
        other => {
            let all = chain(other);
            let text: String = all.iter().flat_map(|one| [one.to_string(), "\n".to_owned()]).collect();
            // Objects are put; what is posted exchanges a token.
            let is_exchange = ["performing POST", "token request", "AssumeRole", "token file"]
                .iter()
                .any(|word| text.contains(word));
            match exchange.filter(|_| is_exchange) {
                Some(exchange) => {
                    let cause = not_exchanged(exchange, &all, &text);
                    format!("ServiceAccount {}: its token was not exchanged: {cause}", exchange.account)
                }
                None => redirected(&text, "the storage", PLACE)
                    .or_else(|| answered(&text).map(|answer| format!("the storage answered {answer}")))
                    .unwrap_or_else(|| transport(&all, &text, "the storage")),
            }
        }
    }
}

fn not_exchanged(exchange: &Exchange, all: &[&(dyn Error + 'static)], text: &str) -> String {
    let Exchange { with, fix, place, .. } = exchange;
    if let Some(said) = redirected(text, with, place) {
        return said;
    }
    match answered(text) {
        // What its owner has done wrong; the rest is tried again, and comes right by itself.
        Some(answer) if answer.starts_with('4') && !answer.starts_with("429") => {
            format!("{with} answered {answer}: {fix}")
        }
        Some(answer) => format!("{with} answered {answer}"),
        None if text.contains("token file") => "it cannot be read".to_owned(),
        None if text.contains("Invalid AssumeRole") => format!("what answered is not {with}"),
        None => transport(all, text, with),
    }
}

/// That `whom` redirects, and in which field of the AccessScope that is put right. Not where to: whoever answered must not choose what
/// a person reads and copies.
fn redirected(text: &str, whom: &str, place: &str) -> Option<String> {
    let status = match answered(text) {
        Some(answer) if answer.starts_with('3') => format!(" ({answer})"),
        None if text.contains("redirect without LOCATION") => String::new(),
        _ => return None,
    };
    Some(format!("{whom} redirects{status}, and redirects are not followed: name where it lies in {place}"))
}

/// Status of an answer, with the code that S3 or Entra gives; nothing else of it.
fn answered(text: &str) -> Option<String> {
    let status = between(text, "status code: ", ":").or_else(|| between(text, "status code: ", "\n"))?;
    let entra = || {
        let (_, rest) = text.split_once("AADSTS")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        rest.get(..digits)
            .filter(|number| (1..=9).contains(&number.len()))
            .map(|number| format!(" AADSTS{number}"))
    };
    let code = between(text, "<Code>", "</Code>").map(|code| format!(" {code}")).or_else(entra);
    Some(format!("{status}{}", code.unwrap_or_default()))
}

/// What kept a request from its answer, by `whom` it was not given.
fn transport(chain: &[&(dyn Error + 'static)], text: &str, whom: &str) -> String {
    let kind = chain.iter().find_map(|one| one.downcast_ref::<HttpError>()).map(HttpError::kind);
    let text = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match kind {
        Some(HttpErrorKind::Timeout) => format!("{whom} did not answer in time"),
        // Finer kinds are told by the words of the libraries below alone.
        Some(_) if has(&["certificate"]) => {
            format!("{whom}'s certificate is not trusted: give its authority to the daemons")
        }
        Some(_) if has(&["dns error", "lookup address"]) => format!("{whom}'s host is not known"),
        Some(_) => format!("{whom} cannot be reached"),
        None if has(&["no space"]) => "no space is left".to_owned(),
        None if has(&["permission denied", "read-only"]) => "the folder may not be written to".to_owned(),
        None => format!("{whom} did not take it"),
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let found = text.split_once(before)?.1.split_once(after)?.0.trim();
    // Figures and words of the storage's own; anything longer could be what was sent.
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b' ';
    (!found.is_empty() && found.len() <= 48 && found.bytes().all(is_word)).then_some(found)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn identity(trust: Trust) -> Exchange {
        let credential = Credential::Identity { account: "sa".to_owned(), token: "/token".into(), trust };
        Exchange::of(&credential).unwrap()
    }

    #[test]
    fn what_the_storage_answers_is_told_by_status_and_code() {
        let answered = |text: &str| told(&error(text), None);
        assert_eq!(
            answered(
                "Error performing PUT https://h/?sig=x in 1ms - Server returned non-2xx status code: 400 Bad Request: <Error><Code>InvalidArgument</Code><AWSAccessKeyId>canary</AWSAccessKeyId></Error>"
            ),
            "the storage answered 400 Bad Request InvalidArgument"
        );
        assert_eq!(answered("No space left on device (os error 28)"), "no space is left");
    }

    #[test]
    fn what_keeps_a_token_from_its_exchange_is_told_with_its_account() {
        let sts = identity(Trust::Role { arn: "arn".to_owned() });
        let (client, tenant) = ("c".to_owned(), "t".to_owned());
        let entra = identity(Trust::Application { client, tenant });
        let post = "Error performing POST REDACTED in 1ms - Server returned non-2xx status code:";
        for (exchange, text, expected) in [
            (
                &sts,
                format!("{post} 403 Forbidden: <Code>AccessDenied</Code>canary"),
                "the STS answered 403 Forbidden AccessDenied: let the role",
            ),
            (
                &sts,
                "Invalid AssumeRoleWithWebIdentity response: canary".to_owned(),
                "what answered is not the STS",
            ),
            (&sts, "Failed to read token file '/canary': gone".to_owned(), "it cannot be read"),
            (
                &entra,
                format!("{post} 400 Bad Request: {{\"error_description\":\"AADSTS70021: canary\"}}"),
                "Entra answered 400 Bad Request AADSTS70021: give the application",
            ),
        ] {
            let said = told(&error(&text), Some(exchange));
            let expected = format!("ServiceAccount sa: its token was not exchanged: {expected}");
            assert!(said.starts_with(&expected) && !said.contains("canary"), "{said}");
        }
        // It comes right by itself, so there is nothing to do.
        for status in ["503 Service Unavailable", "429 Too Many Requests"] {
            let said = told(&error(&format!("{post} {status}: busy")), Some(&entra));
            assert!(said.ends_with(&format!("Entra answered {status}")), "{said}");
        }
    }
}
