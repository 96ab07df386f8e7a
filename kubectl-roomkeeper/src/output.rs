//! How answers are printed.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use anyhow::Context as _;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// Output formats, named as kubectl's.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    /// With further columns, personal data among them
    Wide,
    /// Names of the objects only, as RESOURCE.GROUP/NAME
    Name,
}

/// Output formats of answers that are no objects of the cluster.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Json,
    Yaml,
}

impl From<Data> for Format {
    fn from(data: Data) -> Self {
        match data {
            Data::Json => Self::Json,
            Data::Yaml => Self::Yaml,
        }
    }
}

/// Prints an answer: as data, as names, or for people.
pub(crate) fn print<T: Serialize>(
    format: Option<Format>,
    data: &T,
    names: &[String],
    people: impl Display,
) -> anyhow::Result<()> {
    let text = match format {
        Some(Format::Json) => {
            let text = serde_json::to_string_pretty(data).context("write the answer as JSON")?;
            format!("{text}\n")
        }
        Some(Format::Yaml) => serde_yaml::to_string(data).context("write the answer as YAML")?,
        Some(Format::Name) => names.iter().flat_map(|name| [name.as_str(), "\n"]).collect(),
        Some(Format::Wide) | None => people.to_string(),
    };
    say(&text)
}

/// Writes to standard output. Who reads only its beginning, as `head` does, has what they want.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

/// An object as kubectl names it.
pub(crate) fn name(plural: &str, name: &str) -> String {
    format!("{plural}.{}/{name}", roomkeeper_crds::GROUP)
}

/// A time span as kubectl prints ages.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minute, hour, day) = (60, 3_600, 86_400);
    match seconds {
        _ if seconds < 2 * minute => format!("{seconds}s"),
        _ if seconds < 3 * hour => format!("{}m", seconds / minute),
        _ if seconds < 2 * day => format!("{}h", seconds / hour),
        _ => format!("{}d", seconds / day),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;

    use super::*;

    #[test]
    fn ages_are_kubectls() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for (span, expected) in
            [(119.seconds(), "119s"), (5.minutes(), "5m"), (47.hours(), "47h"), (50.hours(), "2d")]
        {
            assert_eq!(age(now - span, now), expected);
        }
        assert_eq!(age(now + 5.seconds(), now), "0s");
    }
}
