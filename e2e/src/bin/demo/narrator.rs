//! Prints what was seen.

use std::time::Instant;

/// Prints one line per step, with the time since the start.
pub(crate) struct Narrator {
    started: Instant,
    steps: usize,
}

impl Narrator {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), steps: 0 }
    }

    /// A step of the story was seen.
    pub(crate) fn seen(&mut self, what: &str) {
        self.steps += 1;
        println!("[{:6.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// Output of a command that people would run.
    pub(crate) fn command(command: &str, output: &str) {
        println!("             $ {command}");
        for line in output.lines() {
            println!("             {line}");
        }
    }

    /// The story could not go on.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        eprintln!(
            "[{:6.1} s] FAILED after {} steps: {error:#}",
            self.started.elapsed().as_secs_f64(),
            self.steps
        );
    }
}
