//! From which address a request comes, as far as that can be believed.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use axum::http::{HeaderMap, HeaderName};

/// In which proxies say for whom they ask.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses with the same first bits, such as `10.0.0.0/8`; an address alone is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address or network such as 10.0.0.0/8 or fd00::/8");
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl Network {
    fn holds(self, other: IpAddr) -> bool {
        let differ = match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= u32::from(self.bits)
    }
}

/// Whose word on addresses is taken.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// The address that a request counts for. A header is believed only as far as trusted proxies wrote it: what a stranger put
    /// into it stands to the left of what the first of them added.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut last = peer;
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            for entry in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = address(entry.trim()) else { return last };
                if !self.trusts(address) {
                    return address;
                }
                last = address;
            }
        }
        last
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }
}

/// Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

/// What one customer of a provider has: for IPv6 a network, of which each host can take any address.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(trusted: &[&str], peer: &str, headers: &[&str]) -> String {
        let proxies = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()));
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let own = ["10.0.0.0/8", "fd00::/8"];
        for (trusted, peer, headers, expected) in [
            (&[][..], "192.0.2.1", &[][..], "192.0.2.1"),
            (&[], "192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            (&own, "192.0.2.1", &["203.0.113.9"], "192.0.2.1"),
            (&own, "10.1.2.3", &[], "10.1.2.3"),
            (&own, "10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            (&own, "::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            (&own, "fd00::1", &["2001:db8::7"], "2001:db8::7"),
            (&own, "10.1.2.3", &["203.0.113.9:4711"], "203.0.113.9"),
            (&own, "10.1.2.3", &["[2001:db8::7]:443"], "2001:db8::7"),
            (&own, "10.1.2.3", &["[2001:db8::7]"], "2001:db8::7"),
            // What the stranger wrote stands to the left.
            (&own, "10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (&own, "10.1.2.3", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            (&own, "10.1.2.3", &["10.9.9.9, 203.0.113.9, 10.4.5.6"], "203.0.113.9"),
            (&own, "10.1.2.3", &["unknown"], "10.1.2.3"),
            (&own, "10.1.2.3", &["203.0.113.9, "], "10.1.2.3"),
        ] {
            assert_eq!(client(trusted, peer, headers), expected, "{peer} {headers:?}");
        }
    }

    #[test]
    fn networks_are_read_or_refused() {
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().unwrap().holds(address.parse().unwrap())
        };
        assert!(holds("0.0.0.0/0", "192.0.2.1") && holds("192.0.2.1", "192.0.2.1"));
        assert!(holds("192.0.2.0/25", "192.0.2.127") && !holds("192.0.2.0/25", "192.0.2.128"));
        assert!(holds("fd00::/8", "fdff::1") && !holds("fd00::/8", "fe00::1") && !holds("::/0", "192.0.2.1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/-1", "proxy.example"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("10.0.0.0/8"), "{wrong}");
        }
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one() {
        let of = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
    }
}
