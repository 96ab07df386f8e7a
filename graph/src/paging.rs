//! Following `@odata.nextLink`: the only text from a server that becomes part of a URL.

use url::Url;

use crate::error::TransportFault;

/// Pages of one list at most; at 999 members a page this is far above any group.
pub(crate) const MAX_PAGES: usize = 2_000;

/// A link to the next page, proven to lead to the same list at the same origin. Its query is the server's own.
#[derive(Debug)]
pub(crate) struct PageLink(Url);

impl PageLink {
    /// Accepts a link to the same origin and path as the list's first page. Anything else would carry the token away,
    /// or read what was not asked for.
    pub(crate) fn new(first: &Url, link: &str) -> Result<Self, TransportFault> {
        let link = Url::parse(link).map_err(|_| TransportFault::ForeignPageLink)?;
        let same = link.origin() == first.origin()
            && link.path().eq_ignore_ascii_case(first.path())
            && link.username().is_empty()
            && link.password().is_none()
            && link.fragment().is_none();
        if same { Ok(Self(link)) } else { Err(TransportFault::ForeignPageLink) }
    }

    pub(crate) fn into_url(self) -> Url {
        self.0
    }
}

/// Where a list goes on, for the call that goes on with it. Checked when it is used: it fits the list that it came from
/// and no other.
#[derive(Clone, PartialEq, Eq)]
pub struct PageToken {
    pub(crate) link: Url,
    /// Pages before.
    pub(crate) pages: usize,
}

/// The link's query is the server's own.
impl std::fmt::Debug for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageToken").field("pages", &self.pages).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_list_is_followed() {
        let first = Url::parse(
            "https://graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user?$top=9",
        )
        .unwrap();
        let good = "https://graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user?$skiptoken=a%20b";
        assert_eq!(PageLink::new(&first, good).unwrap().into_url().as_str(), good);
        for bad in [
            "",
            "?$skiptoken=a",
            "http://graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user",
            "https://graph.example/v1.0/groups/g/transitiveMembers/microsoft.graph.user",
            "https://evil.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user",
            "https://graph.example:8443@evil.example/v1.0/groups/g/transitiveMembers/microsoft.graph.user",
            "https://u:p@graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user",
            "https://graph.example:8443/v1.0/users",
            "https://graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user/../../../users",
            "https://graph.example:8443/v1.0/groups/g/transitiveMembers/microsoft.graph.user#x",
        ] {
            assert_eq!(PageLink::new(&first, bad).err(), Some(TransportFault::ForeignPageLink), "{bad}");
        }
    }
}
