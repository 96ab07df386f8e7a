//! Names of exported objects: `<scope>/<writer>/<scope>.<writer>.<first>-<last>.jsonl.gz` and `….<number>.manifest.json`.
//!
//! Verifiers know files by their names alone, in whatever folders they lie, so the names say scope and writer again.

use roomkeeper_graph::audit::chain::LogName;

/// Folder of the exports of a log, below the destination's prefix.
pub fn object_folder(log: &LogName, writer: &str) -> String {
    format!("{}/{writer}", log.folder())
}

/// Name of a file of lines as the manifest has it. What is uploaded is compressed, and its name then ends with `.gz`.
pub fn lines_name(log: &LogName, writer: &str, first: u64, last: u64) -> String {
    format!("{}.{writer}.{first:020}-{last:020}.jsonl", log.folder())
}

/// Name of the manifest with that number.
pub fn manifest_name(log: &LogName, writer: &str, number: u64) -> String {
    format!("{}.{writer}.{number:020}.manifest.json", log.folder())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_their_lines() {
        let log = LogName::of_scope("rooms/contoso").unwrap();
        assert_eq!(object_folder(&log, "operator-0-a1"), "rooms_contoso/operator-0-a1");
        assert_eq!(
            lines_name(&log, "operator-0-a1", 1, 25),
            "rooms_contoso.operator-0-a1.00000000000000000001-00000000000000000025.jsonl"
        );
        assert_eq!(
            manifest_name(&log, "operator-0-a1", 3),
            "rooms_contoso.operator-0-a1.00000000000000000003.manifest.json"
        );
    }
}
