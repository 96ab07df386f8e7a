//! `e2e/audit_verify.py`, written independently, says the same of good and of damaged logs.

use std::{collections::BTreeSet, fs, io::Write, path::Path, process::Command};

use roomkeeper_graph::audit::chain::{File, Report};
use tempfile::TempDir;

use super::{
    copies::{copies, export_and_rest},
    damage::{damaged, with_pending},
    fixture::{judge, key, old_copy, two_writers},
    retention::{last_of, retained},
    statements::wrong,
};

fn script() -> String {
    format!("{}/../e2e/audit_verify.py", env!("CARGO_MANIFEST_DIR"))
}

/// Code, file and line of each finding. The second verifier notes an overlap once for a file.
fn of_rust(report: &Report) -> BTreeSet<String> {
    let name = |file: &str| if file.is_empty() { "-".to_owned() } else { file.to_owned() };
    let line = |code: &str, line: u64| if code == "overlap" { 0 } else { line };
    report
        .findings
        .iter()
        .map(|f| {
            let code = f.damage.code();
            format!("{code} {} {}", name(&f.file), line(code, f.line))
        })
        .collect()
}

fn of_python(folder: &Path) -> (i32, BTreeSet<String>) {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let output = Command::new("python3").arg(script()).args(files).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "", "{text}");
    let found = text.lines().filter_map(|line| line.strip_prefix("finding ")).map(str::to_owned);
    (output.status.code().unwrap(), found.collect())
}

fn laid_out(files: &[File]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(folder.path().join(&file.name), &file.bytes).unwrap();
    }
    fs::write(folder.path().join("key.pem"), key(1).public().to_pem()).unwrap();
    folder
}

fn agree(what: &str, files: &[File]) {
    let folder = laid_out(files);
    let report = judge(files);
    let (code, mut python) = of_python(folder.path());
    let mut rust = of_rust(&report);
    // Where two lines have one number, it is open which of them the next one should refer to.
    if [&rust, &python].iter().all(|found| found.iter().any(|f| f.starts_with("overlap "))) {
        for found in [&mut rust, &mut python] {
            found.retain(|f| !f.starts_with("chain "));
        }
    }
    assert_eq!(python, rust, "{what}");
    let expected = match (report.is_intact(), report.is_complete()) {
        (_, true) => 0,
        (true, false) => 3,
        (false, false) => 1,
    };
    assert_eq!(code, expected, "{what}");
}

#[tokio::test]
async fn both_verifiers_agree() {
    let import = Command::new("python3").args(["-c", "import cryptography"]).output();
    if !import.is_ok_and(|output| output.status.success()) {
        let mut out = std::io::stderr();
        writeln!(out, "skipped: python3 with its package `cryptography` is not here").unwrap();
        return;
    }
    let (files, kept) = two_writers().await;
    agree("undamaged", &files);
    let all = [&files[..], &[kept]].concat();
    agree("undamaged, with what the API server keeps", &all);
    agree("an old copy that went on", &old_copy().await);
    agree("lines pending", &with_pending().await);
    agree("copies", &copies().await.0);
    let rest = export_and_rest().await;
    agree("an export and a copy of the rest", &rest);
    agree("a copy of the rest", &rest[4..]);
    for (what, files) in damaged(&copies().await.0).into_iter().chain(damaged(&rest)).step_by(9) {
        agree(&format!("copies: {what}"), &files);
    }
    let (mut retained, start) = retained().await;
    agree("after retention, old exports still there", &retained);
    retained.retain(|file| last_of(file).is_none_or(|last| last >= start.number));
    agree("after retention", &retained);
    retained.remove(0);
    let next = retained.iter().position(|file| last_of(file).is_some()).unwrap();
    retained.remove(next);
    agree("after retention, and one file more", &retained);
    for (what, files, _) in wrong().await {
        agree(what, &files);
    }
    // Every third: each run of Python takes its time, and the kinds of damage come by sevens.
    for (what, files) in damaged(&files).into_iter().step_by(3) {
        agree(&what, &files);
    }
    for n in 0..all.len() {
        let mut files = all.clone();
        let bytes = &mut files[n].bytes;
        let at = n.wrapping_mul(7_919) % bytes.len();
        bytes[at] ^= 1 << (n % 7);
        let what = format!("bit {} of byte {at} of {}", n % 7, files[n].name);
        // Which parts of a line have to have a form is the verifier's own choice; that it is damaged is not.
        assert!(!judge(&files).is_intact(), "{what}");
        assert_eq!(of_python(laid_out(&files).path()).0, 1, "{what}");
    }
}
