//! Tables as kubectl prints them: upper-case heads, columns aligned by three spaces, `<none>` for what is absent.

use std::fmt;

/// Space between two columns.
const GAP: usize = 3;

/// A table.
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// A row; cells that are empty read `<none>`.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }
}

/// A cell on one line, without what a terminal would take for a command: objects hold what others wrote.
fn printable(cell: &str) -> String {
    if cell.is_empty() {
        return "<none>".to_owned();
    }
    cell.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| {
                lines
                    .iter()
                    .filter_map(|line| line.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for line in lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                text.push_str(cell);
                let padding = width.saturating_sub(cell.chars().count()).saturating_add(GAP);
                text.extend(std::iter::repeat_n(' ', padding));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_what_is_absent_is_named() {
        let mut table = Table::new(&["NAME", "REASON", "AGE"]);
        table.row(vec!["user-eins".to_owned(), String::new(), "3d".to_owned()]);
        table.row(vec!["ü".to_owned(), "T-1\u{1b}[2J\nx".to_owned(), "10m".to_owned()]);
        let expected =
            "NAME        REASON      AGE\nuser-eins   <none>      3d\nü           T-1 [2J x   10m\n";
        assert_eq!(table.to_string(), expected);
    }
}
