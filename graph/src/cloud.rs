//! The clouds of Microsoft as a closed list, and endpoints of one's own for private clouds and tests.

use url::Url;

/// A cloud of Microsoft. Tokens and data do not cross clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// Microsoft 365 worldwide, and GCC.
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (`DoD`).
    UsGovDod,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// Login host and Graph host, as listed under "National cloud deployments" of the Graph documentation.
    pub fn endpoints(self) -> Endpoints {
        let (authority, graph) = match self {
            Self::Global => ("https://login.microsoftonline.com", "https://graph.microsoft.com"),
            Self::UsGov => ("https://login.microsoftonline.us", "https://graph.microsoft.us"),
            Self::UsGovDod => ("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
            Self::China => ("https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
        };
        Endpoints { authority: known(authority), graph: known(graph) }
    }
}

#[allow(clippy::expect_used, reason = "four literals, all of them parsed by a test")]
fn known(origin: &'static str) -> Url {
    Url::parse(origin).expect("a literal URL")
}

/// Where tokens come from and where Graph is: two https origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    authority: Url,
    graph: Url,
}

/// An endpoint was refused. Names the field, the value's fault and the form expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{field}: {fault}; expected an origin like https://login.example.com or https://login.example.com:8443"
)]
pub struct EndpointError {
    field: &'static str,
    fault: &'static str,
}

impl Endpoints {
    /// Endpoints other than those of a [`Cloud`]. Both must be https and name an origin only; Graph without `/v1.0`.
    ///
    /// # Errors
    /// Another scheme, a path, a query, a fragment, or credentials in the URL.
    pub fn new(authority: Url, graph: Url) -> Result<Self, EndpointError> {
        check("authority", &authority)?;
        check("graph", &graph)?;
        Ok(Self { authority, graph })
    }

    /// Origin of the token endpoint.
    pub fn authority(&self) -> &Url {
        &self.authority
    }

    /// Origin of Graph, without `/v1.0`.
    pub fn graph(&self) -> &Url {
        &self.graph
    }

    /// The scope that stands for all application permissions: `{graph origin}/.default`.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.graph.origin().ascii_serialization())
    }
}

fn check(field: &'static str, url: &Url) -> Result<(), EndpointError> {
    let fault = if url.scheme() != "https" {
        "is not https"
    } else if !url.username().is_empty() || url.password().is_some() {
        "holds a user name or password"
    } else if url.path() != "/" {
        "has a path"
    } else if url.query().is_some() || url.fragment().is_some() {
        "has a query or fragment"
    } else {
        return Ok(());
    };
    Err(EndpointError { field, fault })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_passes_the_rules_for_private_endpoints() {
        for cloud in [Cloud::Global, Cloud::UsGov, Cloud::UsGovDod, Cloud::China] {
            let endpoints = cloud.endpoints();
            assert!(
                Endpoints::new(endpoints.authority.clone(), endpoints.graph.clone()).is_ok(),
                "{cloud:?}"
            );
        }
        assert_eq!(Cloud::UsGovDod.endpoints().scope(), "https://dod-graph.microsoft.us/.default");
    }

    #[test]
    fn a_private_origin_keeps_its_port() {
        let origin = Url::parse("https://127.0.0.1:8443").unwrap();
        assert_eq!(
            Endpoints::new(origin.clone(), origin).unwrap().scope(),
            "https://127.0.0.1:8443/.default"
        );
    }

    #[test]
    fn anything_but_an_https_origin_is_refused_with_the_field() {
        let good = Url::parse("https://login.example.com").unwrap();
        for (bad, fault) in [
            ("http://login.example.com", "is not https"),
            ("https://user:pw@login.example.com", "holds a user name or password"),
            ("https://login.example.com/v1.0", "has a path"),
            ("https://login.example.com/?a=b", "has a query or fragment"),
        ] {
            let error = Endpoints::new(good.clone(), Url::parse(bad).unwrap()).unwrap_err();
            assert!(error.to_string().starts_with(&format!("graph: {fault}; expected")), "{error}");
        }
    }
}
