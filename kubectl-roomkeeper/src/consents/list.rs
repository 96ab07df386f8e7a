//! `consents list`.

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::ConsentRecord;
use serde_json::json;

use crate::{
    api::{Cluster, Where},
    output::{self, Format, age},
    table::Table,
};

pub(super) fn print(
    cluster: &Cluster,
    records: &[ConsentRecord],
    format: Option<Format>,
) -> anyhow::Result<()> {
    if records.is_empty() && matches!(format, None | Some(Format::Wide)) {
        eprintln!("No ConsentRecords found {}.", cluster.place);
        return Ok(());
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": records});
    let names: Vec<String> =
        records.iter().map(|record| output::name("consentrecord", &record.name_any())).collect();
    let namespaces = matches!(cluster.place, Where::All);
    output::print(
        format,
        &list,
        &names,
        table(records, namespaces, format == Some(Format::Wide), Timestamp::now()),
    )
}

fn table(records: &[ConsentRecord], namespaces: bool, wide: bool, now: Timestamp) -> Table {
    let mut heads = vec!["NAME", "SCOPE", "STATE", "NOTICE", "GRANTED", "WITHDRAWN"];
    if namespaces {
        heads.insert(0, "NAMESPACE");
    }
    if wide {
        heads.extend(["USER", "USER-ID", "BY", "REASON"]);
    }
    let mut table = Table::new(&heads);
    for record in records {
        let spec = &record.spec;
        let withdrawn = spec.withdrawn.as_ref();
        let mut row = vec![
            record.name_any(),
            spec.scope.name.clone(),
            if withdrawn.is_some() { "Withdrawn" } else { "Standing" }.to_owned(),
            spec.granted.notice_version.clone(),
            age(spec.granted.at.0, now),
            withdrawn.map(|one| age(one.at.0, now)).unwrap_or_default(),
        ];
        if namespaces {
            row.insert(0, record.namespace().unwrap_or_default());
        }
        if wide {
            row.push(spec.user.principal_name.clone());
            row.push(spec.user.id.clone());
            row.push(withdrawn.map(|one| one.by.clone()).unwrap_or_default());
            row.push(withdrawn.map(|one| one.reason.clone()).unwrap_or_default());
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_shows_only_where_it_was_asked_for() {
        let records: Vec<ConsentRecord> =
            serde_yaml::from_str(include_str!("../../fixtures/register.yaml")).unwrap();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let narrow = table(&records, false, false, now).to_string();
        assert_eq!(
            narrow,
            "NAME        SCOPE     STATE       NOTICE    GRANTED   WITHDRAWN\n\
             consent-a   contoso   Withdrawn   2026-01   22d       20d\n\
             consent-b   contoso   Standing    2026-02   5h        <none>\n"
        );
        let wide = table(&records, true, true, now).to_string();
        assert!(wide.starts_with("NAMESPACE   NAME "), "{wide}");
        assert!(wide.contains("user1@contoso.example") && wide.contains("=HYPERLINK"), "{wide}");
    }
}
