//! The hosts that a custom resource may name.
//!
//! A URL in a custom resource is otherwise a way to make the operator call any address and to send it a token.

use std::{collections::BTreeSet, str::FromStr};

use url::{Host, Url};

/// Port of an https URL that names none.
const HTTPS: u16 = 443;

/// Hosts, each with the one port that is allowed there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(BTreeSet<(String, u16)>);

/// An entry of the allow list that is not `HOST` or `HOST:PORT`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("allowed host {0:?} must be HOST or HOST:PORT, such as booking.example or booking.example:8443")]
pub struct HostError(String);

/// A URL whose host is not on the allow list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{field}: host {host} is not on the operator's allow list: start the operator and the webhook server with --allowed-host {host}"
)]
pub struct HostNotAllowed {
    /// Field of the custom resource.
    pub field: &'static str,
    /// Host, with the port unless it is 443.
    pub host: String,
}

impl AllowedHosts {
    /// Reads the entries `HOST` (port 443) or `HOST:PORT`.
    ///
    /// # Errors
    /// On the first entry that is neither.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, HostError> {
        entries.into_iter().map(|entry| parse(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Passes when scheme is https and host and port are on the list; `field` names the URL in the error.
    ///
    /// # Errors
    /// When the host is not on the list, or the URL has none.
    pub fn check(&self, field: &'static str, url: &Url) -> Result<(), HostNotAllowed> {
        let host = url.host().as_ref().map(written).unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(HTTPS);
        if url.scheme() == "https" && self.0.contains(&(host.clone(), port)) {
            return Ok(());
        }
        let host = if port == HTTPS { host } else { format!("{host}:{port}") };
        Err(HostNotAllowed { field, host })
    }
}

impl FromStr for AllowedHosts {
    type Err = HostError;

    /// Reads entries that are separated by commas.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()))
    }
}

fn parse(entry: &str) -> Result<(String, u16), HostError> {
    let wrong = || HostError(entry.to_owned());
    // The URL parser knows IPv6 brackets, punycode and letter case; anything but host and port shows in its other parts.
    let url = Url::parse(&format!("https://{entry}/")).map_err(|_| wrong())?;
    let plain =
        url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.password().is_none();
    let host =
        url.host().filter(|_| plain && !entry.contains(['/', '?', '#', '@', '*'])).ok_or_else(wrong)?;
    Ok((written(&host), url.port().unwrap_or(HTTPS)))
}

fn written<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_the_listed_host_and_port_pass() {
        let hosts = AllowedHosts::new(["Booking.example", "127.0.0.1:8443", "[::1]:9"]).unwrap();
        for passes in [
            "https://booking.example/x",
            "https://booking.example:443",
            "https://127.0.0.1:8443/v1",
            "https://[::1]:9/",
        ] {
            assert_eq!(hosts.check("f", &url(passes)), Ok(()), "{passes}");
        }
        for refused in [
            "http://booking.example/",
            "https://booking.example:8443/",
            "https://booking.example.evil.example/",
            "https://evil.example/?https://booking.example",
            "https://booking.example@evil.example/",
            "https://127.0.0.1/",
            "https://127.0.0.2:8443/",
            "https://2130706433/",
        ] {
            assert!(hosts.check("f", &url(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_error_names_field_host_and_fix() {
        let error =
            AllowedHosts::default().check("spec.booking.url", &url("https://a.example:81/x?q")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "spec.booking.url: host a.example:81 is not on the operator's allow list: start the operator and the webhook server with --allowed-host a.example:81"
        );
    }

    #[test]
    fn an_entry_that_is_no_host_is_refused() {
        for wrong in
            ["", "https://a.example", "a.example/path", "user@a.example", "*.example", "a b", "a.example:x"]
        {
            assert!(AllowedHosts::new([wrong]).is_err(), "{wrong:?}");
        }
    }
}
