//! Figures of one bench.

use std::fs;

use anyhow::Context as _;
use roomkeeper_e2e::programs;
use serde_json::{Map, Number, Value};

/// Figures in the order in which they were put.
#[derive(Default)]
pub(crate) struct Report(Vec<(String, f64)>);

impl Report {
    pub(crate) fn put(&mut self, key: impl Into<String>, figure: f64) {
        self.0.push((key.into(), figure));
    }

    /// A figure that counts something.
    #[allow(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
    pub(crate) fn count(&mut self, key: impl Into<String>, figure: usize) {
        self.put(key, figure as f64);
    }

    /// Prints the table and writes the file.
    pub(crate) fn finish(&self, name: &str) -> anyhow::Result<()> {
        println!("\n{name}");
        let mut file = Map::new();
        for (key, figure) in &self.0 {
            let rounded = (figure * 1000.0).round() / 1000.0;
            println!("  {key:<34} {rounded:>14.3}");
            file.insert(
                key.clone(),
                Value::Number(Number::from_f64(rounded).context("a figure is no number")?),
            );
        }
        let folder = programs::repository().join("target/bench");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, serde_json::to_string_pretty(&Value::Object(file))?)?;
        println!("  written to target/bench/{name}.json");
        Ok(())
    }
}
