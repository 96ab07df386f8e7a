//! `consents export`: the register as one flat row per record.

use std::io::Write;

use anyhow::Context as _;
use csv::{Terminator, WriterBuilder};
use kube::ResourceExt as _;
use roomkeeper_crds::{ConsentRecord, consent_record::ConsentMethod};
use serde::Serialize;

use super::made;
use crate::args::ExportFormat;

/// A record; the fields are the columns, in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace: String,
    name: String,
    created_at: Option<String>,
    scope: String,
    scope_uid: String,
    tenant_id: String,
    client_id: String,
    user_id: String,
    principal_name: String,
    granted_at: String,
    method: &'static str,
    notice_version: String,
    add_in_version: Option<String>,
    withdrawn_at: Option<String>,
    withdrawn_by: Option<String>,
    withdrawn_reason: Option<String>,
    subscription: Option<String>,
}

impl From<&ConsentRecord> for Row {
    fn from(record: &ConsentRecord) -> Self {
        let spec = &record.spec;
        let withdrawn = spec.withdrawn.as_ref();
        Self {
            namespace: record.namespace().unwrap_or_default(),
            name: record.name_any(),
            created_at: made(record).map(|at| at.to_string()),
            scope: spec.scope.name.clone(),
            scope_uid: spec.scope.uid.clone(),
            tenant_id: spec.scope.tenant_id.clone(),
            client_id: spec.scope.client_id.clone(),
            user_id: spec.user.id.clone(),
            principal_name: spec.user.principal_name.clone(),
            granted_at: spec.granted.at.0.to_string(),
            method: match spec.granted.method {
                ConsentMethod::AddIn => "AddIn",
            },
            notice_version: spec.granted.notice_version.clone(),
            add_in_version: spec.granted.add_in_version.clone(),
            withdrawn_at: withdrawn.map(|one| one.at.0.to_string()),
            withdrawn_by: withdrawn.map(|one| one.by.clone()),
            withdrawn_reason: withdrawn.map(|one| one.reason.clone()),
            subscription: record.status.as_ref().and_then(|status| status.subscription.clone()),
        }
    }
}

impl Row {
    const HEADS: [&'static str; 17] = [
        "namespace",
        "name",
        "createdAt",
        "scope",
        "scopeUid",
        "tenantId",
        "clientId",
        "userId",
        "principalName",
        "grantedAt",
        "method",
        "noticeVersion",
        "addInVersion",
        "withdrawnAt",
        "withdrawnBy",
        "withdrawnReason",
        "subscription",
    ];

    fn cells(self) -> [String; 17] {
        [
            self.namespace,
            self.name,
            self.created_at.unwrap_or_default(),
            self.scope,
            self.scope_uid,
            self.tenant_id,
            self.client_id,
            self.user_id,
            self.principal_name,
            self.granted_at,
            self.method.to_owned(),
            self.notice_version,
            self.add_in_version.unwrap_or_default(),
            self.withdrawn_at.unwrap_or_default(),
            self.withdrawn_by.unwrap_or_default(),
            self.withdrawn_reason.unwrap_or_default(),
            self.subscription.unwrap_or_default(),
        ]
    }
}

pub(super) fn write(
    records: &[ConsentRecord],
    format: ExportFormat,
    mut to: impl Write,
) -> anyhow::Result<()> {
    match format {
        ExportFormat::Csv => {
            let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(&mut to);
            csv.write_record(Row::HEADS).context("write the export")?;
            for record in records {
                csv.write_record(Row::from(record).cells().map(inert)).context("write the export")?;
            }
            csv.flush().context("write the export")
        }
        ExportFormat::Json => {
            let rows: Vec<Row> = records.iter().map(Row::from).collect();
            serde_json::to_writer_pretty(&mut to, &rows).context("write the export")?;
            writeln!(to).context("write the export")
        }
    }
}

/// A cell that no spreadsheet takes for a formula: reasons and names are what others wrote.
fn inert(cell: String) -> String {
    let begins_a_formula =
        |first: char| matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠');
    if cell.chars().next().is_some_and(begins_a_formula) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(format: ExportFormat) -> String {
        let records: Vec<ConsentRecord> =
            serde_yaml::from_str(include_str!("../../fixtures/register.yaml")).unwrap();
        let mut bytes = Vec::new();
        write(&records, format, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn csv_is_rfc_4180_and_holds_no_formula() {
        let text = exported(ExportFormat::Csv);
        assert_eq!(text.matches("\r\n").count(), 3);
        assert_eq!(text.matches('\n').count(), 3, "no other line ends");
        assert!(
            text.contains("support-1,\"'=HYPERLINK(\"\"https://evil.example\"\",\"\"T-1\"\"), said \"\"no\"\"\",user1\r\n"),
            "{text}"
        );
        assert!(
            text.contains(",'+user1@contoso.example,2026-11-23T05:00:00Z,AddIn,2026-02,,,,,\r\n"),
            "{text}"
        );
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), 17);
        assert_eq!(reader.records().map(|row| row.unwrap().len()).collect::<Vec<_>>(), [17, 17]);
    }

    #[test]
    fn every_beginning_of_a_formula_is_made_text() {
        for formula in ["=1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"] {
            assert_eq!(inert(formula.to_owned()), format!("'{formula}"));
        }
        for text in ["", "T-1", "user1@contoso.example", "2026-11-23T05:00:00Z"] {
            assert_eq!(inert(text.to_owned()), text);
        }
    }

    #[test]
    fn json_is_what_the_register_says() {
        let rows: serde_json::Value = serde_json::from_str(&exported(ExportFormat::Json)).unwrap();
        assert_eq!(rows[1]["principalName"], "+user1@contoso.example");
        assert_eq!(rows[0]["withdrawnBy"], "support-1");
        assert_eq!(rows[1]["withdrawnAt"], serde_json::Value::Null);
        let heads: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = Row::HEADS;
        expected.sort_unstable();
        let mut heads = heads;
        heads.sort_unstable();
        assert_eq!(heads, expected);
    }
}
