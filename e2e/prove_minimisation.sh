#!/usr/bin/env bash
# Plants violations of least data in a copy of the sources, one at a time, and demands that a check which knows nothing of the planted
# code catches each, and says why. The unplanted copy must pass all checks. Exit 0 only then.
#
# The checks are run by themselves and their words are looked at, because a plant may break the code's own tests as well: that would
# show nothing about the check. Builds share the folder of third-party crates, and run nothing that other tests start by name.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=$root/target/prove-minimisation
copy=$scratch/tree
said=$scratch/said.txt
requests=$scratch/requests
cargo=${CARGO:-cargo}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
slipped=0

fresh_copy() {
    mkdir -p "$copy"
    # Only what changed is written, so that what is not planted need not be compiled again.
    (cd "$root" && git ls-files -z --cached --others --exclude-standard) |
        while IFS= read -r -d '' file; do
            [ -f "$root/$file" ] || continue
            if ! cmp -s "$root/$file" "$copy/$file"; then
                mkdir -p "$copy/$(dirname "$file")"
                cp "$root/$file" "$copy/$file"
            fi
        done
}

# Replaces the only occurrence of a text in a file of the copy.
plant() {
    FILE=$copy/$1 FROM=$2 TO=$3 perl -0pi -e '
        my ($from, $to) = ($ENV{FROM}, $ENV{TO});
        my $count = () = /\Q$from\E/g;
        if ($count != 1) { print STDERR "prove-minimisation: $ENV{FILE} holds $count times: $from\n"; exit 3; }
        s/\Q$from\E/$to/;
    ' "$copy/$1"
}

# What the simulator is asked for by the client's tests, against the allow list written by hand.
check_requests() {
    rm -rf "$requests"
    # A plant may fail these tests as well. What counts is what was sent.
    (cd "$copy" && GRAPH_SIM_REQUEST_LOG=$requests $cargo test --locked --quiet -p roomkeeper-graph --test client simulator::) >"$scratch/tests.txt" 2>&1 ||
        echo "    (the client's own tests fail as well)"
    (cd "$copy" && $cargo run --locked --quiet -p least-data -- requests "$requests") >"$said" 2>&1
}

# The same tests with planted strings where personal data is, whose logs, errors and audit are searched.
check_canaries() {
    (cd "$copy" && $cargo test --locked --quiet -p roomkeeper-graph --test client neither_log_nor_audit_nor_errors_hold_what_is_planted) >"$said" 2>&1
}

# An answer with members that nobody asked for.
check_guard() {
    (cd "$copy" && $cargo test --locked --quiet -p roomkeeper-graph --test client what_graph_sends_unasked_is_stripped_counted_and_audited) >"$said" 2>&1
}

check_clients() {
    (cd "$copy" && $cargo clippy --locked --quiet -p roomkeeper-operator -- -D warnings) >"$said" 2>&1
}

check_names() {
    (cd "$copy" && $cargo test --locked --quiet -p roomkeeper-graph --doc fields) >"$said" 2>&1
}

check_dependencies() {
    (cd "$copy" && $cargo run --locked --quiet -p dependency-policy) >"$said" 2>&1
}

# A check of the unplanted copy, which must pass.
passes() {
    echo "unplanted: $1"
    if ! "$1"; then
        sed 's/^/    /' "$said" | tail -n 40 >&2
        echo "prove-minimisation: $1 fails without a plant; nothing can be shown with it" >&2
        exit 1
    fi
}

# A plant is there; the check must fail, with these words.
caught() {
    local what=$1 check=$2 words=$3
    echo "planted: $what: $check"
    if "$check"; then
        echo "prove-minimisation: SLIPPED THROUGH: $what: $check passes" >&2
        slipped=1
    elif ! grep -qF -- "$words" "$said"; then
        sed 's/^/    /' "$said" | tail -n 40 >&2
        echo "prove-minimisation: $what: $check fails, but does not say: $words" >&2
        slipped=1
    else
        echo "    caught: $(grep -F -m 1 -- "$words" "$said" | cut -c -160)"
    fi
    fresh_copy
}

rm -rf "$copy"
fresh_copy
passes check_requests
passes check_canaries
passes check_guard
passes check_clients
passes check_names
passes check_dependencies

add_body() {
    plant graph/src/fields.rs '        /// Title.
' '        /// Text.
        Body = "body",
        /// Title.
'
    plant graph/src/fields.rs 'pub(crate) const EVENT_STORED: &[EventField] = &[
' 'pub(crate) const EVENT_STORED: &[EventField] = &[
    EventField::Body,
'
}
add_body
caught "the body is a member of the list of fields" check_requests "asked for what must never be asked for: body"
add_body
caught "the body can be named" check_names "Test compiled successfully, but it's marked \`compile_fail\`"

plant graph/src/request.rs 'Self::User(_) => Some(select(&[fields::USER])),' 'Self::User(_) => None,'
caught "a read without \$select" check_requests 'read without $select: /users/{id}'

plant graph/src/request.rs 'Self::Group(_) => Some(select(&[fields::GROUP])),' 'Self::Group(_) => Some("$select=id,mailEnabled,securityEnabled,groupTypes,description".to_owned()),'
caught "a field beside the list" check_requests "groupTypes,description: no entry of the allow list takes this query"

plant operator/src/key.rs 'use std::fmt;
' 'use std::fmt;

/// Asks Graph for anything.
pub async fn anything(url: &str) -> Option<String> {
    reqwest::Client::new().get(url).send().await.ok()?.text().await.ok()
}
'
caught "a second HTTP client in the operator" check_clients "use of a disallowed type \`reqwest::Client\`"

plant service/src/audit_export/name.rs 'use roomkeeper_graph::audit::chain::LogName;
' 'use roomkeeper_graph::audit::chain::LogName;

/// Asks Graph for anything.
pub async fn anything(url: &str) -> Option<String> {
    reqwest::Client::new().get(url).send().await.ok()?.text().await.ok()
}
'
caught "a second HTTP client beside that of the exports" check_clients "use of a disallowed type \`reqwest::Client\`"

# Its tests name it already, so that the lock file stays as it is.
plant webhook-server/Cargo.toml 'redb.workspace = true
' 'redb.workspace = true
reqwest.workspace = true
'
caught "an HTTP client among another crate's dependencies" check_dependencies "roomkeeper-webhook-server"

plant graph/src/event.rs '        Ok(Self {
            head: EventHead::read(object, manifest)?,
            subject: object.optional_text("subject")?.map(str::to_owned),' '        tracing::info!(subject = object.optional_text("subject")?, "read");
        Ok(Self {
            head: EventHead::read(object, manifest)?,
            subject: object.optional_text("subject")?.map(str::to_owned),'
caught "the subject in a log line" check_canaries 'holds the {"subject"} that was planted'

plant graph/src/answer.rs 'false => Role::Unrequested,' 'false => Role::Keep,'
caught "a member that was not asked for is kept" check_guard "panicked at graph/tests/client/simulator.rs"

if [ "$slipped" -ne 0 ]; then
    echo "prove-minimisation: not every planted violation was caught" >&2
    exit 1
fi
echo "prove-minimisation: every planted violation was caught, and the unplanted copy passes every check"
