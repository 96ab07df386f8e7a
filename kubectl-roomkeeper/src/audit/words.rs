//! Purposes and findings in words.

use roomkeeper_graph::Purpose;

/// What a call was for.
pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Token => "obtain an access token",
        Purpose::CreateSubscription => "ask Graph to tell of changes in the calendar",
        Purpose::RenewSubscription => "go on being told of changes",
        Purpose::ReauthorizeSubscription => "prove again that changes may be told",
        Purpose::GetSubscription => "see whether the subscription lives",
        Purpose::ListSubscriptions => "see which subscriptions live",
        Purpose::DeleteSubscription => "end being told of changes",
        Purpose::UserLookup => "resolve the user's name",
        Purpose::GroupLookup => "see what kind of group it is",
        Purpose::GroupMembers => "see who is within the scope",
        Purpose::EventMinimalRead => "see whether an event carries the add-in's property",
        Purpose::EventFullRead => "read a booked event",
        Purpose::Occurrences => "read the occurrences of a booked series",
        Purpose::WriteBack => "write the state of the booking onto its event",
        Purpose::Resync => "list the events that carry the add-in's property",
        Purpose::OidcConfiguration => "read where the tenant's keys are",
        Purpose::OidcKeys => "read the tenant's keys",
    }
}

/// What a finding means, by its code.
pub(super) fn finding(code: &str) -> &'static str {
    match code {
        "cut-line" => "the file ends in the middle of a line",
        "bad-line" => "the line is no line of an audit log",
        "foreign" => "the line is of another writer or scope",
        "number" => "lines were removed, inserted or swapped here",
        "chain" => "this line or the one before it was changed",
        "overlap" => "a line number stands in two places",
        "not-as-stated" => "the line is another one than was signed",
        "start" => "the log begins elsewhere than retention left it",
        "unlisted" => "no manifest names the file",
        "missing-file" => "a manifest names the file, and it is not here",
        "range" => "the file does not hold the lines that its manifest says",
        "missing-lines" => "lines that were exported are not here",
        "missing-writer" => "nothing is here of a writer that has exported",
        "missing-manifest" => "a manifest between two others is not here",
        "statement-chain" => "a manifest or checkpoint does not follow the one before it",
        "fork" => "two histories were signed: the log was continued from an old copy",
        "backwards" => "a checkpoint takes back what an earlier one stated",
        "wrong-statement" => "a checkpoint in the manifest is of another log, or its own is missing",
        "malformed" => "the file or line is no signed statement",
        "unknown-key" => "signed by a key that --key does not name",
        "bad-signature" => "the signature does not fit: the statement was changed",
        "not-covered" => "no checkpoint covers these lines: add the checkpoints that the API server keeps",
        "unreadable" => "the file cannot be unpacked",
        _ => "see docs/audit.md",
    }
}
