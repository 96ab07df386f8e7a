//! The notification URLs, which carry whose subscription it is: Graph never tells a clientState back. Pure.

use url::Url;

/// Whose subscription a notification URL is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Key that signed its clientState.
    pub key_id: String,
    /// `metadata.uid` of its CalendarSubscription.
    pub uid: String,
}

/// Public URLs of this installation.
#[derive(Clone, Copy, Debug)]
pub struct Addresses<'a> {
    /// Public prefix without a slash at the end.
    pub prefix: &'a str,
}

impl Addresses<'_> {
    /// Where the notifications of a CalendarSubscription go.
    ///
    /// # Errors
    /// When the prefix is no URL.
    pub fn notifications(&self, address: &Address) -> Result<Url, url::ParseError> {
        Url::parse(&format!("{}/notifications/{}/{}", self.prefix, address.key_id, address.uid))
    }

    /// Where its lifecycle notifications go.
    ///
    /// # Errors
    /// When the prefix is no URL.
    pub fn lifecycle(&self, address: &Address) -> Result<Url, url::ParseError> {
        Url::parse(&format!("{}/lifecycle/{}/{}", self.prefix, address.key_id, address.uid))
    }

    /// Whose a notification URL is; `None` when it does not lie under our prefix.
    pub fn identify(&self, url: &str) -> Option<Address> {
        let (key_id, uid) =
            url.strip_prefix(self.prefix)?.strip_prefix("/notifications/")?.split_once('/')?;
        (!key_id.is_empty() && !uid.is_empty() && !uid.contains(['/', '?', '#']))
            .then(|| Address { key_id: key_id.to_owned(), uid: uid.to_owned() })
    }
}

/// Key that signs the subscription of the CalendarSubscription with that uid, by its notification URL under whatever prefix.
pub fn key_in(url: &str, uid: &str) -> Option<String> {
    let (before, key_id) = url.strip_suffix(uid)?.strip_suffix('/')?.rsplit_once('/')?;
    (before.ends_with("/notifications") && !key_id.is_empty()).then(|| key_id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_built_is_recognised_and_nothing_else() {
        let ours = Addresses { prefix: "https://rooms.example/hook" };
        let address = Address { key_id: "k1".to_owned(), uid: "u".to_owned() };
        let url = ours.notifications(&address).unwrap();
        assert_eq!(url.as_str(), "https://rooms.example/hook/notifications/k1/u");
        assert_eq!(ours.lifecycle(&address).unwrap().as_str(), "https://rooms.example/hook/lifecycle/k1/u");
        assert_eq!(ours.identify(url.as_str()), Some(address));
        assert_eq!(key_in(url.as_str(), "u").as_deref(), Some("k1"));
        assert_eq!(key_in("https://earlier.example/notifications/k0/u", "u").as_deref(), Some("k0"));
        assert_eq!(key_in("https://rooms.example/hook/notifications/k1/other", "u"), None);
        assert_eq!(key_in("https://rooms.example/hook/k1/u", "u"), None);
        for foreign in [
            "https://rooms.example/hook2/notifications/k1/u",
            "https://rooms.example/notifications/k1/u",
            "https://other.example/hook/notifications/k1/u",
            "https://rooms.example/hook/notifications/k1",
            "https://rooms.example/hook/notifications//u",
            "https://rooms.example/hook/notifications/k1/u/x",
            "https://rooms.example/hook/lifecycle/k1/u",
        ] {
            assert_eq!(ours.identify(foreign), None, "{foreign}");
        }
    }
}
