//! Statements that are signed and wrong, or right and not signed: what is found of each.

use roomkeeper_graph::audit::chain::{
    Checkpoint, File, Hash, Head, Known, Manifest, Part, Signed, Start, encode,
};

use super::fixture::{SCOPE, Writer, at, codes, judge, key, log, note};

/// Evidence, and the codes of what is wrong with it.
pub(crate) type Wrong = (&'static str, Vec<File>, Vec<&'static str>);

fn checkpoints(envelopes: &[String]) -> File {
    let bytes = envelopes.iter().flat_map(|envelope| format!("{envelope}\n").into_bytes()).collect();
    File { name: "kept.checkpoints.jsonl".into(), bytes }
}

fn signed(statement: Checkpoint) -> String {
    Signed::new(statement, &key(1)).unwrap().envelope
}

/// An envelope with another one's signature.
fn with_signature_of(envelope: &str, other: &str) -> String {
    let sig = |envelope: &str| {
        let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap();
        envelope["signatures"][0]["sig"].as_str().unwrap().to_owned()
    };
    envelope.replace(&sig(envelope), &sig(other))
}

fn wrong_envelopes(good: &[File], last: &Signed<Checkpoint>, other: &str) -> Vec<Wrong> {
    let with = |file: File| [good, &[file]].concat();
    let unsigned = with_signature_of(&last.envelope, other);
    let foreign_key = Signed::new(last.statement.clone(), &key(2)).unwrap().envelope;
    let half = last.envelope.replace("payloadType", "payload_type");
    let a_manifest_as_checkpoint = String::from_utf8(good[1].bytes.clone()).unwrap().trim_end().to_owned();
    vec![
        ("another signature", with(checkpoints(&[unsigned])), vec!["bad-signature"]),
        ("another key", with(checkpoints(&[foreign_key])), vec!["unknown-key"]),
        ("another field", with(checkpoints(&[half])), vec!["malformed"]),
        ("another kind", with(checkpoints(&[a_manifest_as_checkpoint])), vec!["malformed"]),
        (
            "half a checkpoint",
            with(File { name: "kept.checkpoints.jsonl".into(), bytes: last.envelope.clone().into_bytes() }),
            vec!["cut-line"],
        ),
        (
            "an empty manifest",
            with(File { name: "more.manifest.json".into(), bytes: vec![] }),
            vec!["malformed"],
        ),
    ]
}

/// Wrong evidence of a writer with three exports.
pub(crate) async fn wrong() -> Vec<Wrong> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().join("one"), "operator-0");
    let mut other = Writer::open(dir.path().join("two"), "webhook-0");
    let mut exports = Vec::new();
    for _ in 0..3 {
        writer.write(2, "a").await;
        exports.push(writer.export(&[]));
    }
    other.write(2, "b").await;
    let others = other.export(&[]);
    let good = exports.concat();
    let last = writer.chain.last().unwrap().clone();
    let with = |file: File| [&good[..], &[file]].concat();
    let next =
        Checkpoint { sequence: last.statement.sequence + 1, previous: last.hash, ..last.statement.clone() };
    let after = |change: &dyn Fn(&mut Checkpoint)| {
        let mut next = next.clone();
        change(&mut next);
        with(checkpoints(&[last.envelope.clone(), signed(next)]))
    };
    let zero = Hash::ZERO;

    let mut line = Vec::new();
    encode(&mut line, writer.head(), "operator-0", &log(), &note(9, "more")).unwrap();
    let more = File { name: "more.jsonl".into(), bytes: line.clone() };
    let mut longer = good.clone();
    longer[4].bytes.extend(&line);
    let mut mixed = good.clone();
    let first = others[0].bytes.split_inclusive(|b| *b == b'\n').next().unwrap();
    mixed[0].bytes.extend_from_slice(first);
    let mut alone = Vec::new();
    encode(&mut alone, Head { number: 0, hash: Hash::of(b"x") }, "operator-9", &log(), &note(9, "x"))
        .unwrap();
    let alone = File { name: "alone.jsonl".into(), bytes: alone };

    let other_checkpoint = other.chain.last().unwrap().envelope.clone();
    let manifest = |writer: &str, checkpoint: String| Manifest {
        writer: "operator-0".into(),
        scope: SCOPE.into(),
        number: 4,
        previous: zero,
        time: at(9),
        files: vec![],
        writers: vec![Known { writer: writer.into(), checkpoints: vec![checkpoint] }],
    };
    let stated = |manifest: Manifest| {
        let envelope = Signed::new(manifest, &key(1)).unwrap().envelope;
        with(File { name: "more.manifest.json".into(), bytes: format!("{envelope}\n").into_bytes() })
    };

    let mut wrong = wrong_envelopes(&good, &last, &other_checkpoint);
    wrong.extend(vec![
        ("nothing", after(&|_| ()), vec![]),
        (
            "a number taken back",
            after(&|c| (c.number, c.hash) = (1, zero)),
            vec!["backwards", "not-as-stated"],
        ),
        ("an export taken back", after(&|c| c.exported = 2), vec!["backwards"]),
        ("another hash", after(&|c| c.hash = zero), vec!["fork", "not-as-stated"]),
        ("another chain", after(&|c| c.previous = zero), vec!["statement-chain"]),
        (
            "the same sequence",
            after(&|c| {
                (c.sequence, c.previous, c.time) = (c.sequence - 1, last.statement.previous, at(99));
            }),
            vec!["fork"],
        ),
        ("another start", after(&|c| c.start = Start { number: 3, previous: Hash::of(b"x") }), vec!["start"]),
        ("an export that is not there", after(&|c| (c.number, c.exported) = (9, 9)), vec!["missing-lines"]),
        ("no manifest 2", [&exports[0][..], &exports[2]].concat(), vec!["missing-lines", "missing-manifest"]),
        ("a file more", with(more.clone()), vec!["not-covered", "unlisted"]),
        ("a line more", longer, vec!["not-covered", "range"]),
        ("a line of another log", mixed, vec!["foreign", "range"]),
        ("a log without a statement", vec![alone], vec!["not-covered", "start", "unlisted"]),
        (
            "a checkpoint of another writer",
            stated(manifest("operator-0", other_checkpoint)),
            vec!["statement-chain", "wrong-statement"],
        ),
        (
            "a checkpoint before the end",
            {
                let part = Part { name: "more.jsonl".into(), first: 7, last: 7, lines: 1 };
                let own = manifest("operator-0", last.envelope.clone());
                [stated(Manifest { files: vec![part], ..own }), vec![more.clone()]].concat()
            },
            vec!["not-covered", "statement-chain", "wrong-statement"],
        ),
        (
            "no checkpoint of its own",
            stated(Manifest { writers: vec![], ..manifest("", String::new()) }),
            vec!["statement-chain", "wrong-statement"],
        ),
        ("an empty file", with(File { name: "more.jsonl".into(), bytes: vec![] }), vec!["unlisted"]),
    ]);
    wrong
}

#[tokio::test]
async fn each_wrong_statement_is_found() {
    for (what, files, expected) in wrong().await {
        assert_eq!(codes(&judge(&files)), expected, "{what}");
    }
}

#[test]
fn the_largest_numbers_are_judged_too() {
    let (mut bytes, mut head) = (Vec::new(), Head { number: u64::MAX - 2, hash: Hash::ZERO });
    for _ in 0..4 {
        head = encode(&mut bytes, head, "operator-0", &log(), &note(1, "a")).unwrap();
    }
    let report = judge(&[File { name: "a.jsonl".into(), bytes }]);
    assert_eq!(codes(&report), ["missing-lines", "not-covered", "number", "overlap", "unlisted"]);
}
