//! `audit verify`, and that `e2e/audit_verify.py` reads the same files and says the same.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    process::Command,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use super::export::{Exported, json, plugin};

const VERIFY: [&str; 6] = ["audit", "verify", "rooms_contoso", "kept.checkpoints.jsonl", "--key", "key.pem"];

/// Code, file and line of each finding, by both verifiers, and whether they call it damage.
fn both(exported: &Exported) -> (bool, BTreeSet<String>) {
    let (code, answer) = json(&VERIFY, exported.folder.path());
    let found = answer["findings"].as_array().unwrap().iter().map(|one| {
        let file = one["file"].as_str().unwrap();
        let file = if file.is_empty() { "-" } else { file };
        format!("{} {file} {}", one["code"].as_str().unwrap(), one["line"])
    });
    let found: BTreeSet<String> = found.collect();
    assert_eq!(code, if found.is_empty() { 0 } else { 6 });
    assert_eq!(answer["intact"], found.is_empty());
    if !Command::new("python3").args(["-c", "import cryptography"]).output().is_ok_and(|o| o.status.success())
    {
        eprintln!("skipped: python3 with its package `cryptography` is not here");
        return (!found.is_empty(), found);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/audit_verify.py");
    let output =
        Command::new("python3").arg(script).arg(exported.key()).args(exported.files()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{text}");
    let theirs: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("finding ")).map(str::to_owned).collect();
    assert_eq!(theirs, found);
    let complete = answer["complete"].as_bool().unwrap();
    let expected = if !found.is_empty() {
        1
    } else if complete {
        0
    } else {
        3
    };
    assert_eq!(output.status.code(), Some(expected));
    (!found.is_empty(), found)
}

#[test]
fn a_whole_export_is_complete() {
    let exported = Exported::new(false);
    assert_eq!(both(&exported), (false, BTreeSet::new()));
    let (code, out, err) = plugin(&VERIFY, exported.folder.path());
    assert_eq!((code, err.as_str()), (0, ""));
    let row =
        "rooms/contoso   operator-0   8       8      2026-11-23T10:01:00Z   2026-11-23T10:08:00Z   all here";
    assert!(out.contains(row) && out.contains("\nComplete: "), "{out}");
}

#[test]
fn lines_that_were_not_exported_are_pending_since_the_last_checkpoint_that_is_whole() {
    let exported = Exported::new(true);
    assert_eq!(both(&exported), (false, BTreeSet::new()));
    let (code, out, _) = plugin(&VERIFY, exported.folder.path());
    assert_eq!(code, 0);
    assert!(
        out.contains("pending since 2026-11-23T10:04:00Z, to line 8\n") && out.contains("\nIntact: "),
        "{out}"
    );
    let (_, answer) = json(&VERIFY, exported.folder.path());
    assert_eq!((&answer["complete"], &answer["logs"][0]["pendingToLine"]), (&false.into(), &8.into()));
}

#[test]
fn both_verifiers_find_damage_in_packed_files() {
    for place in 0..5 {
        let exported = Exported::new(false);
        let path = exported.files().remove(place);
        fs::remove_file(path).unwrap();
        // What is not there cannot be given to the script, and to the plugin only where it is named.
        if place < 4 {
            assert!(both(&exported).0, "file {place} removed");
        }
    }
    let changes: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes[400] ^= 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| drop(bytes.drain(..=bytes.iter().position(|b| *b == b'\n').unwrap())),
    ];
    for change in changes {
        let exported = Exported::new(false);
        let path = exported.files().into_iter().find(|path| path.extension().unwrap() == "gz").unwrap();
        let mut bytes = Vec::new();
        GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut bytes).unwrap();
        change(&mut bytes);
        let mut gzip = GzEncoder::new(fs::File::create(&path).unwrap(), Compression::default());
        gzip.write_all(&bytes).unwrap();
        gzip.finish().unwrap();
        assert!(both(&exported).0);
    }
    let exported = Exported::new(false);
    let path = exported.files().into_iter().find(|path| path.extension().unwrap() == "gz").unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let (_, found) = both(&exported);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(found.contains(&format!("unreadable {name} 0")), "{found:?}");
}

#[test]
fn a_damaged_log_says_where_and_what_it_means() {
    let exported = Exported::new(false);
    fs::remove_file(exported.files().remove(0)).unwrap();
    let (code, out, err) = plugin(&VERIFY, exported.folder.path());
    assert_eq!(code, 6);
    assert!(
        out.contains(
            "missing-lines 1 to 4 of operator-0 for rooms/contoso                                     lines that were exported are not here"
        ),
        "{out}"
    );
    assert!(out.ends_with("\nDamaged: see the findings.\n"), "{out}");
    assert!(err.contains("damaged or incomplete"), "{err}");
}

#[test]
fn a_key_that_is_none_is_a_fault_of_usage() {
    let exported = Exported::new(false);
    let (code, _, err) = plugin(
        &["audit", "verify", "rooms_contoso", "--key", "kept.checkpoints.jsonl"],
        exported.folder.path(),
    );
    assert_eq!(code, 2);
    assert!(err.contains("--key kept.checkpoints.jsonl: there is no key in PEM"), "{err}");
}

#[test]
fn what_the_api_server_keeps_of_other_scopes_can_be_left_out_of_account() {
    let exported = Exported::new(false);
    let verify = ["audit", "verify", "rooms_contoso", "all.checkpoints.jsonl", "--key", "key.pem"];
    let (code, answer) = json(&verify, exported.folder.path());
    assert_eq!((code, &answer["findings"][0]["code"]), (6, &"missing-writer".into()));
    let (code, answer) = json(&[&verify[..], &["--scope", "rooms/contoso"]].concat(), exported.folder.path());
    assert_eq!((code, answer["logs"].as_array().unwrap().len()), (0, 1));
    let (code, _, err) = plugin(&[&verify[..], &["--scope", "contoso"]].concat(), exported.folder.path());
    assert_eq!((code, err.contains("--scope contoso: write NAMESPACE/NAME")), (2, true));
}
