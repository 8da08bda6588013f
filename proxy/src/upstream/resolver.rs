//! Names become addresses by raw DNS, never by the hosts file: the sidecar shares the pod's hosts file, where the
//! account's host points back to the sidecar.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tower_service::Service;

/// Resolves hosts for one purpose.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Inner>);

struct Inner {
    /// Answers that are given.
    given: BTreeMap<String, SocketAddr>,
    /// Addresses that the connection names for hosts, looked at like those of DNS.
    aliases: BTreeMap<String, IpAddr>,
    /// Private networks that may be reached; `None` does not look at addresses.
    guard: Option<Vec<IpNet>>,
    dns: Option<TokioResolver>,
}

impl Resolver {
    /// For the account and its chunk stores: public addresses only, and the listed private networks.
    pub(crate) fn guarded(
        given: BTreeMap<String, SocketAddr>,
        aliases: BTreeMap<String, IpAddr>,
        networks: Vec<IpNet>,
    ) -> Self {
        Self(Arc::new(Inner { given, aliases, guard: Some(networks), dns: dns() }))
    }

    /// For what whoever configured the connection named.
    pub(crate) fn unguarded() -> Self {
        let (given, aliases) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Inner { given, aliases, guard: None, dns: dns() }))
    }

    /// For the operator, which is inside the cluster and proves itself by its certificate.
    pub(crate) fn for_operator(host: &str, address: Option<SocketAddr>) -> Self {
        let given = address.map(|address| (host.to_owned(), address)).into_iter().collect();
        let aliases = BTreeMap::new();
        Self(Arc::new(Inner { given, aliases, guard: None, dns: dns() }))
    }

    /// The addresses of `host` that may be connected to.
    pub(crate) async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        // A given address was configured for this host by whoever runs the sidecar.
        if let Some(address) = self.0.given.get(host) {
            return Ok(vec![*address]);
        }
        if let Some(address) = self.0.aliases.get(host).copied().or_else(|| literal(host)) {
            self.admit(host, address)?;
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        if host == "localhost" && self.0.guard.is_none() {
            return Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]);
        }
        let Some(dns) = &self.0.dns else {
            return Err(io::Error::other("there is no name server in resolv.conf"));
        };
        let found = dns.lookup_ip(host).await.map_err(io::Error::other)?;
        let mut admitted = Vec::new();
        for address in found.iter() {
            self.admit(host, address)?;
            admitted.push(SocketAddr::new(address, 0));
        }
        Ok(admitted)
    }

    /// Refuses an address that stands in place of a name and may not be connected to.
    pub(crate) fn look_at(&self, host: &str) -> io::Result<()> {
        match literal(host) {
            Some(address) if !self.0.given.contains_key(host) => self.admit(host, address),
            _ => Ok(()),
        }
    }

    fn admit(&self, host: &str, address: IpAddr) -> io::Result<()> {
        let Some(networks) = &self.0.guard else { return Ok(()) };
        if is_public(address) || networks.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{host} has the address {address}, which is not public: list its network in the \
                 SnowflakeConnection's privateNetworks if that is meant"
            ),
        ))
    }
}

/// The address that stands in place of a name.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

fn dns() -> Option<TokioResolver> {
    let mut builder = TokioResolver::builder_tokio().ok()?;
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.build().ok()
}

/// Whether an address belongs to the public internet: not loopback, private, link-local, shared, or reserved.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_unspecified()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4() {
                return is_public(IpAddr::V4(v4));
            }
            let [a, b, ..] = v6.segments();
            // NAT64 carries a v4 address in its last bits.
            if (a, b) == (0x64, 0xff9b) {
                let [.., high, low] = v6.segments();
                let v4 = (u32::from(high) << 16) | u32::from(low);
                return is_public(IpAddr::V4(v4.into()));
            }
            // Only global unicast is public; 2001:db8 is for documentation, 2002 carries v4 addresses.
            (0x2000..0x4000).contains(&a) && (a, b) != (0x2001, 0x0db8) && a != 0x2002
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { Ok(resolver.resolve(name.as_str()).await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in ["8.8.8.8", "52.1.2.3", "2600:1f18::1", "64:ff9b::808:808"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "198.18.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fe80::1",
            "fd00:ec2::254",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_private_address_is_refused_unless_its_network_is_listed() {
        let closed = Resolver::guarded(BTreeMap::new(), BTreeMap::new(), Vec::new());
        let error = closed.resolve("10.1.2.3").await.unwrap_err().to_string();
        assert!(error.contains("privateNetworks"), "{error}");
        let networks = vec!["10.0.0.0/8".parse().unwrap()];
        let open = Resolver::guarded(BTreeMap::new(), BTreeMap::new(), networks);
        assert_eq!(open.resolve("10.1.2.3").await.unwrap().len(), 1);
        assert!(open.resolve("localhost").await.is_err());
    }

    #[tokio::test]
    async fn a_given_address_stands_in_for_a_name() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let given = BTreeMap::from([("acme.snowflakecomputing.com".to_owned(), address)]);
        let resolver = Resolver::guarded(given, BTreeMap::new(), Vec::new());
        assert_eq!(resolver.resolve("acme.snowflakecomputing.com").await.unwrap(), [address]);
    }

    #[tokio::test]
    async fn an_alias_of_the_connection_stands_in_for_dns_and_is_looked_at_like_it() {
        let host = "acme.privatelink.snowflakecomputing.com";
        let aliases = BTreeMap::from([(host.to_owned(), "10.1.2.3".parse().unwrap())]);
        let closed = Resolver::guarded(BTreeMap::new(), aliases.clone(), Vec::new());
        let error = closed.resolve(host).await.unwrap_err().to_string();
        assert!(error.contains("10.1.2.3") && error.contains("privateNetworks"), "{error}");
        let networks = vec!["10.0.0.0/8".parse().unwrap()];
        let open = Resolver::guarded(BTreeMap::new(), aliases, networks);
        assert_eq!(open.resolve(host).await.unwrap(), ["10.1.2.3:0".parse().unwrap()]);
    }
}
