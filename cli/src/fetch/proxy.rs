//! Proxies: which one the environment names for an address, and how `http://` goes through it.
//!
//! For `https://` ureq asks the proxy for a tunnel. It would do the same for plain
//! `http://`, which proxies refuse: they want the whole address in the request
//! (RFC 9112, section 3.2.2).

use crate::error::{Error, Result};
use base64::prelude::{BASE64_STANDARD, Engine};
use std::env;
use std::io::ErrorKind;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::{Agent, Proxy, ProxyProtocol};

/// The proxy that the environment names for an address: `https_proxy` or `http_proxy`
/// by its scheme, or else `all_proxy`, in lower or upper case, except for the hosts of
/// `no_proxy`.
pub fn of(address: &str) -> Result<Option<Proxy>> {
    let scheme = address.split("://").next().unwrap_or_default();
    let names = [format!("{scheme}_proxy"), "all_proxy".to_owned()];
    let Some((name, value)) = names.iter().find_map(|name| variable(name)) else {
        return Ok(None);
    };
    let failed = |reason: &str| Error::BadProxy {
        name: name.clone(),
        reason: reason.to_owned(),
    };
    let proxy = Proxy::new(&value).map_err(|_| failed("it is not an address"))?;
    if has_bad_port(&value) {
        return Err(failed("its port is not a number from 0 to 65535"));
    }
    if !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
        return Err(failed(
            "it is a SOCKS proxy; only HTTP proxies are supported",
        ));
    }
    let mut builder = Proxy::builder(proxy.protocol())
        .host(proxy.host())
        .port(proxy.port());
    if let Some(user) = proxy.username() {
        builder = builder.username(user);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    let exceptions = variable("no_proxy").map_or(String::new(), |(_, hosts)| hosts);
    for pattern in exceptions.split([',', ' ']).flat_map(patterns) {
        builder = builder.no_proxy(&pattern);
    }
    let proxy = builder
        .build()
        .map_err(|_| failed("it is not an address"))?;
    let uri: Option<Uri> = address.parse().ok();
    let is_direct = uri.is_some_and(|uri| proxy.is_no_proxy(&uri));
    Ok((!is_direct).then_some(proxy))
}

/// An environment variable, by its name in lower or upper case. An empty one means no proxy.
fn variable(name: &str) -> Option<(String, String)> {
    let find = |name: String| Some((name.clone(), env::var(name).ok()?));
    find(name.to_owned())
        .or_else(|| find(name.to_uppercase()))
        .filter(|(_, value)| !value.is_empty())
}

/// Whether a proxy's address has an invalid port, for which ureq would use the default.
fn has_bad_port(proxy: &str) -> bool {
    let authority = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    authority.parse::<Authority>().is_ok_and(|authority| {
        authority.port().is_none() && !authority.as_str().ends_with(authority.host())
    })
}

/// A host of `no_proxy` in ureq's syntax: it includes subdomains, as in other programs.
fn patterns(host: &str) -> Vec<String> {
    match host.trim_start_matches("*.").trim_start_matches('.') {
        "" => Vec::new(),
        "*" => vec!["*".to_owned()],
        host => vec![host.to_owned(), format!(".{host}")],
    }
}

/// Connects as ureq does, but sends plain `http://` through a proxy without a tunnel.
#[derive(Debug, Default)]
pub struct ThroughProxy(DefaultConnector);

impl Connector for ThroughProxy {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let is_plain = details.uri.scheme_str() == Some("http");
        let proxy = details.config.proxy();
        let Some(proxy) = proxy.filter(|proxy| is_plain && !proxy.is_no_proxy(details.uri)) else {
            return self.0.connect(details, chained);
        };
        let config: Config = Agent::config_builder().proxy(None).build();
        let to_proxy = ConnectionDetails {
            uri: proxy.uri(),
            addrs: details
                .resolver
                .resolve(proxy.uri(), &config, details.timeout)?,
            config: &config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let transport = self.0.connect(&to_proxy, chained)?;
        Ok(transport.map(|inner| WholeAddress::new(inner, details.uri, proxy).boxed()))
    }
}

/// A connection to a proxy: requests get their whole address, and the proxy's password.
#[derive(Debug)]
struct WholeAddress {
    inner: Box<dyn Transport>,
    /// `http://host:port`.
    origin: String,
    /// A header with its line break, or nothing.
    credentials: String,
}

impl WholeAddress {
    fn new(inner: Box<dyn Transport>, target: &Uri, proxy: &Proxy) -> WholeAddress {
        let host = target
            .authority()
            .map_or("", |authority| authority.as_str());
        let credentials = proxy.username().map_or(String::new(), |user| {
            let both = format!("{user}:{}", proxy.password().unwrap_or_default());
            format!(
                "Proxy-Authorization: Basic {}\r\n",
                BASE64_STANDARD.encode(both)
            )
        });
        WholeAddress {
            inner,
            origin: format!("http://{host}"),
            credentials,
        }
    }

    /// The head of a request as a proxy wants it. There is no other method, and no body.
    fn head(&self, request: &[u8]) -> Option<Vec<u8>> {
        let path = request.strip_prefix(b"GET ")?;
        let headers = 2 + path.windows(2).position(|pair| pair == b"\r\n")?;
        let (line, headers) = path.split_at(headers);
        let [origin, credentials] = [&self.origin, &self.credentials].map(|text| text.as_bytes());
        Some([b"GET ", origin, line, credentials, headers].concat())
    }
}

impl Transport for WholeAddress {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let request = self.inner.buffers().output()[..amount].to_vec();
        let head = self.head(&request).unwrap_or(request);
        match self.inner.buffers().output().get_mut(..head.len()) {
            Some(room) => room.copy_from_slice(&head),
            None => return Err(ureq::Error::Io(ErrorKind::OutOfMemory.into())),
        }
        self.inner.transmit_output(head.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
