//! What an export carries away. Pure: the time is an argument.

use jiff::Timestamp;
use roomkeeper_graph::audit::chain::{Checkpoint, Hash, Known, LogName, Manifest, Part, Signed, Start};

use super::name::lines_name;

/// Most lines of one file: some ten megabytes before they are compressed.
const MOST_LINES: u64 = 20_000;

/// What an export starts from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The manifest of an export that was begun and is not known to be finished.
    pub pending: Option<&'a Signed<Manifest>>,
    /// The manifest of the last export that was finished.
    pub last: Option<&'a Signed<Manifest>>,
    /// The checkpoint that the log has just got.
    pub checkpoint: &'a Signed<Checkpoint>,
    /// The first line that retention left.
    pub start: Start,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan<'a> {
    /// The pending export is whole at the destination, and that was stated: only its manifest has to be put in its place.
    Finish,
    /// The pending export is uploaded again with the same manifest, byte for byte, and then stated.
    Repeat {
        /// That manifest.
        manifest: &'a Signed<Manifest>,
        /// The last line that is then carried away.
        exported: u64,
    },
    /// A new export.
    New(Planned),
}

/// A new export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The manifest to sign.
    pub manifest: Manifest,
    /// The last line that is carried away with it.
    pub exported: u64,
}

/// Why nothing can be exported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Lines were carried away, and the manifest that says so is gone: the next one could not follow it.
    #[error(
        "the log of {scope} has exported lines up to {exported}, and the manifest of its last export is not beside it: put the file last.manifest.json back from the destination, or let the pod begin with an empty volume"
    )]
    ManifestGone {
        /// Of which scope.
        scope: String,
        /// Last line that was carried away.
        exported: u64,
    },
}

/// Plans the next export of a log.
///
/// `others` are all other writers of the scope.
///
/// # Errors
/// See [`PlanError`].
pub fn plan<'a>(
    situation: Situation<'a>,
    log: &LogName,
    others: &[Known],
    now: Timestamp,
) -> Result<Plan<'a>, PlanError> {
    let Situation { pending, last, checkpoint, start } = situation;
    let stated = &checkpoint.statement;
    if let Some(pending) = pending {
        let carried = pending.statement.files.iter().map(|part| part.last).max();
        // What is stated was uploaded before. Without lines nothing is stated of an export, and it is repeated, which does no harm.
        return Ok(match carried {
            Some(carried) if carried <= stated.exported => Plan::Finish,
            carried => Plan::Repeat { manifest: pending, exported: carried.unwrap_or(stated.exported) },
        });
    }
    if last.is_none() && stated.exported > 0 {
        return Err(PlanError::ManifestGone { scope: stated.scope.clone(), exported: stated.exported });
    }
    let first = stated.exported.saturating_add(1);
    let manifest = Manifest {
        number: last.map_or(1, |last| last.statement.number.saturating_add(1)),
        previous: last.map_or(Hash::ZERO, |last| last.hash),
        ..copied(checkpoint, first.max(start.number), log, others, now)
    };
    let exported = manifest.files.last().map_or(stated.exported, |part| part.last);
    Ok(Plan::New(Planned { manifest, exported }))
}

/// The manifest of a copy of a log from line `first` on to the last that `checkpoint` states: it belongs to no chain, and nothing counts as
/// carried away by it.
pub fn copied(
    checkpoint: &Signed<Checkpoint>,
    first: u64,
    log: &LogName,
    others: &[Known],
    now: Timestamp,
) -> Manifest {
    let stated = &checkpoint.statement;
    let mut writers: Vec<Known> =
        others.iter().filter(|known| known.writer != stated.writer).cloned().collect();
    writers.push(Known { writer: stated.writer.clone(), checkpoints: vec![checkpoint.envelope.clone()] });
    writers.sort_by(|a, b| a.writer.cmp(&b.writer));
    Manifest {
        writer: stated.writer.clone(),
        scope: stated.scope.clone(),
        number: Manifest::COPY,
        previous: Hash::ZERO,
        time: now,
        files: parts(log, &stated.writer, first, stated.number),
        writers,
    }
}

fn parts(log: &LogName, writer: &str, first: u64, end: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut first = first;
    while first <= end {
        let last = end.min(first.saturating_add(MOST_LINES - 1));
        let lines = last - first + 1;
        parts.push(Part { name: lines_name(log, writer, first, last), first, last, lines });
        let Some(next) = last.checked_add(1) else { break };
        first = next;
    }
    parts
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::Ed25519KeyPair;
    use data_encoding::BASE64;
    use roomkeeper_graph::audit::chain::SigningKey;

    use super::*;

    fn key() -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let der = BASE64.encode(pair.to_pkcs8v1().unwrap().as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        SigningKey::from_pem(pem.as_bytes()).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn log() -> LogName {
        LogName::of_scope("rooms/contoso").unwrap()
    }

    fn checkpoint(number: u64, exported: u64) -> Signed<Checkpoint> {
        let checkpoint = Checkpoint {
            writer: "operator-0".to_owned(),
            scope: "rooms/contoso".to_owned(),
            sequence: 5,
            previous: Hash::ZERO,
            time: now(),
            number,
            hash: Hash::ZERO,
            start: Start::FIRST,
            exported,
        };
        Signed::new(checkpoint, &key()).unwrap()
    }

    fn planned(checkpoint: &Signed<Checkpoint>, last: Option<&Signed<Manifest>>, start: u64) -> Planned {
        let start = Start { number: start, previous: Hash::ZERO };
        let situation = Situation { pending: None, last, checkpoint, start };
        let Plan::New(planned) = plan(situation, &log(), &[], now()).unwrap() else { panic!() };
        planned
    }

    fn ranges(planned: &Planned) -> Vec<(u64, u64, u64)> {
        planned.manifest.files.iter().map(|part| (part.first, part.last, part.lines)).collect()
    }

    #[test]
    fn a_new_export_goes_from_what_was_exported_to_what_is_stated() {
        let first = planned(&checkpoint(7, 0), None, 1);
        assert_eq!((ranges(&first), first.exported), (vec![(1, 7, 7)], 7));
        assert_eq!((first.manifest.number, first.manifest.previous), (1, Hash::ZERO));
        let last = Signed::new(first.manifest, &key()).unwrap();
        let second = planned(&checkpoint(9, 7), Some(&last), 1);
        assert_eq!((ranges(&second), second.exported), (vec![(8, 9, 2)], 9));
        assert_eq!((second.manifest.number, second.manifest.previous), (2, last.hash));
        // Nothing is new: the manifest still says how far every writer is.
        let third = planned(&checkpoint(7, 7), Some(&last), 1);
        assert_eq!((ranges(&third), third.exported), (vec![], 7));
    }

    #[test]
    fn what_retention_dropped_before_the_first_export_is_not_looked_for() {
        assert_eq!(ranges(&planned(&checkpoint(9, 0), None, 4)), [(4, 9, 6)]);
    }

    #[test]
    fn files_are_bounded_and_leave_nothing_out() {
        let end = 2 * MOST_LINES + 1;
        let all = planned(&checkpoint(end, 0), None, 1);
        let (a, b) = (MOST_LINES, 2 * MOST_LINES);
        assert_eq!(ranges(&all), [(1, a, MOST_LINES), (a + 1, b, MOST_LINES), (end, end, 1)]);
    }

    #[test]
    fn every_writer_is_named_once_with_its_last_checkpoints() {
        let stated = checkpoint(3, 0);
        let situation = Situation { pending: None, last: None, checkpoint: &stated, start: Start::FIRST };
        let known = |writer: &str, checkpoints: &[&str]| Known {
            writer: writer.to_owned(),
            checkpoints: checkpoints.iter().map(|one| (*one).to_owned()).collect(),
        };
        let others = [known("webhook-0", &["w"]), known("operator-0", &["stale"]), known("a", &[])];
        let Plan::New(planned) = plan(situation, &log(), &others, now()).unwrap() else { panic!() };
        let own = known("operator-0", &[&stated.envelope]);
        assert_eq!(planned.manifest.writers, [known("a", &[]), own, known("webhook-0", &["w"])]);
    }

    #[test]
    fn a_copy_goes_from_where_it_is_asked_for_and_is_in_no_chain() {
        let copy = |first| copied(&checkpoint(9, 7), first, &log(), &[], now());
        let ranges =
            |copy: &Manifest| copy.files.iter().map(|part| (part.first, part.last)).collect::<Vec<_>>();
        let (whole, rest) = (copy(3), copy(8));
        assert_eq!((ranges(&whole), ranges(&rest), ranges(&copy(10))), (vec![(3, 9)], vec![(8, 9)], vec![]));
        assert_eq!((rest.number, rest.previous), (Manifest::COPY, Hash::ZERO));
    }

    #[test]
    fn an_export_that_was_begun_is_repeated_until_that_is_stated() {
        let pending = Signed::new(planned(&checkpoint(7, 0), None, 1).manifest, &key()).unwrap();
        for (exported, number) in [(0, 7), (0, 20), (7, 7), (9, 20)] {
            let stated = checkpoint(number, exported);
            let situation =
                Situation { pending: Some(&pending), last: None, checkpoint: &stated, start: Start::FIRST };
            let expected =
                if exported >= 7 { Plan::Finish } else { Plan::Repeat { manifest: &pending, exported: 7 } };
            assert_eq!(plan(situation, &log(), &[], now()).unwrap(), expected);
        }
    }

    #[test]
    fn without_its_last_manifest_nothing_can_follow() {
        let stated = checkpoint(9, 7);
        let situation = Situation { pending: None, last: None, checkpoint: &stated, start: Start::FIRST };
        let error = plan(situation, &log(), &[], now()).unwrap_err();
        assert!(error.to_string().contains("exported lines up to 7"), "{error}");
    }
}
