//! One time for the operator and for Graph.

use std::path::PathBuf;

use crate::graph::Connected;

pub struct Time {
    file: PathBuf,
    ahead: i64,
}

impl Time {
    pub fn new(connected: &Connected) -> Self {
        let time = Self { file: connected.site.folder.path().join("ahead"), ahead: 0 };
        time.write();
        time
    }

    /// The variable that has an operator follow this time.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        ("ROOMKEEPER_CLOCK_FILE", self.file.clone())
    }

    pub fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now() + jiff::SignedDuration::from_secs(self.ahead)
    }

    /// Lets time pass, first at Graph: an operator ahead of Graph would ask for lives that are too long.
    pub async fn pass(&mut self, connected: &Connected, seconds: i64) {
        connected.graph.control("clock", &serde_json::json!({"advanceSeconds": seconds})).await;
        self.ahead += seconds;
        self.write();
    }

    /// Has the operator go by the API server's time again, which never went ahead: how long ago a deletion was asked for is
    /// the difference between the two.
    pub fn as_the_api_server(&mut self) {
        self.ahead = 0;
        self.write();
    }

    fn write(&self) {
        // Renamed into place: a reader never sees half a number.
        let next = self.file.with_extension("next");
        std::fs::write(&next, self.ahead.to_string()).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}
