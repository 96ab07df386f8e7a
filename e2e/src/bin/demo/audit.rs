//! The last chapter: what the audit says, to somebody who has nothing but files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use roomkeeper_e2e::{
    exports::{DAMAGED, files, told_since},
    install, wait, world,
};
use serde_json::json;

use crate::{
    narrator::Narrator,
    scene::{NAMESPACE, STEP, Scene},
};

pub(crate) async fn is_exported_verified_and_read(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let folder = export(scene).await?;
    let keys = scene.system.folder().join("audit-keys.pem");
    let published = ["get", "configmap", "roomkeeper-audit-keys", "-n", install::NAMESPACE];
    let published =
        scene.kubectl(&[&published[..], &["-o", "go-template={{range .data}}{{.}}{{end}}"]].concat())?;
    fs::write(&keys, published)?;

    let (folder_text, keys) = (folder.display().to_string(), keys.display().to_string());
    let verify = ["audit", "verify", &folder_text, "--key", &keys];
    let (code, said) = scene.plugin(&verify)?;
    Narrator::command("kubectl roomkeeper audit verify EXPORTS --key audit-keys.pem", &said);
    ensure!(code == 0, "the exports do not verify: {said}");
    scene.narrator.seen("the exports of every writer are whole: nothing was removed, changed or added");

    let report = ["audit", "report", world::USER_1, &folder_text];
    let (code, said) = scene.plugin(&report)?;
    Narrator::command("kubectl roomkeeper audit report user1 EXPORTS", &shortened(&said));
    ensure!(code == 0 && !said.contains(world::USER_2), "the report is not of user1 alone: {said}");
    scene.narrator.seen("every access to user1's calendar can be read: when, what for, which fields");

    let file = files(&folder, ".jsonl.gz")?.into_iter().next().context("no exported lines")?;
    change_one_byte(&file)?;
    let (code, said) = scene.plugin(&verify)?;
    Narrator::command("kubectl roomkeeper audit verify EXPORTS --key audit-keys.pem", &shortened(&said));
    ensure!(code == DAMAGED, "one byte was changed, and the exit code is {code}: {said}");
    scene.narrator.seen("one byte of one line is changed: the verification fails");
    Ok(())
}

/// Gives the scope a destination, asks for an export now, and waits until both daemons made it.
async fn export(scene: &mut Scene<'_>) -> anyhow::Result<PathBuf> {
    let folder = scene.exports().join(NAMESPACE);
    fs::create_dir(&folder)?;
    let destination = json!({"url": format!("file://{}", folder.display())});
    let export = json!({"schedule": "0 2 * * *", "timeZone": "Europe/Berlin", "destination": destination});
    let patch = json!({"spec": {"audit": {"export": export}}}).to_string();
    scene.kubectl(&["patch", "accessscope", "contoso", "--type", "merge", "-p", &patch])?;
    let asked = Timestamp::now();
    let annotation = format!("{}={asked}", roomkeeper_crds::annotation::EXPORT_REQUESTED_AT);
    scene.kubectl(&["annotate", "--overwrite", "accessscope/contoso", &annotation])?;
    wait::until("the exports of both daemons", STEP, || async {
        let is_told = told_since(&scene.scope().await?, asked);
        let manifests = files(&folder, ".manifest.json")?;
        let of = |daemon: &str| {
            manifests
                .iter()
                .any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(daemon)))
        };
        Ok((is_told && of("operator-") && of("webhook-")).then_some(()))
    })
    .await?;
    scene
        .narrator
        .seen("the audit of the scope is exported: daily at 2 in Berlin, and now because it was asked for");
    Ok(folder)
}

/// In the middle of the lines, packed again as they were.
fn change_one_byte(file: &Path) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(fs::File::open(file)?), &mut lines)?;
    let middle = lines.len() / 2;
    let byte = lines.get_mut(middle..).and_then(|rest| rest.iter_mut().find(|byte| byte.is_ascii_digit()));
    let byte = byte.context("no digit in the second half of the lines")?;
    *byte = if *byte == b'0' { b'1' } else { b'0' };
    let mut packed = GzEncoder::new(fs::File::create(file)?, Compression::default());
    std::io::Write::write_all(&mut packed, &lines)?;
    packed.finish()?;
    Ok(())
}

fn shortened(text: &str) -> String {
    const LINES: usize = 12;
    let all: Vec<&str> = text.lines().collect();
    let shown: String = all.iter().take(LINES).flat_map(|line| [*line, "\n"]).collect();
    if all.len() > LINES { format!("{shown}… and {} lines more\n", all.len() - LINES) } else { shown }
}
