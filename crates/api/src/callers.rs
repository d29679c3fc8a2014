//! Who may call a process: by which names of its own, and from which web pages.
//!
//! A browser sends requests for any page that it shows, also to programs on the machine in front of which
//! its user sits. It says so: the header `Host` names the machine as the page does, `Origin` names the page,
//! `Sec-Fetch-Site` says how page and machine are related. No page can forge these three, and programs that
//! are no browsers do not send the last two.
//!
//! - *Rebinding*: a page of `evil.example` whose name an evil name server lets point at 127.0.0.1 reads and
//!   writes with the rights of its own origin. Then `Host` is `evil.example`. [`AllowedHosts`]
//! - *Forgery*: a page of any origin may send a POST that it cannot read the answer of. Then `Origin` is
//!   another than the address that is called. [`CorsOrigin::may_change`]
//!
//! Source: Go 1.25 `net/http` `CrossOriginProtection`, which has the same rule; Fetch Metadata, W3C.

use std::net::IpAddr;

use axum::http::{HeaderMap, Request, header};
use promontory_model::re2::Re2;

/// The flag that names hosts; refusals name it, so the binary must have it.
pub const HOSTS_FLAG: &str = "--web.allowed-hosts";
/// The flag that names origins, likewise.
pub const ORIGIN_FLAG: &str = "--web.cors.origin";

/// By which names requests may call this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowedHosts {
    /// By any: where a process listens on a network, who may come is decided there.
    #[default]
    Any,
    /// By those of a loopback address, and by these: `name`, `*.name` for all below it, or `*` for all.
    Loopback(Vec<String>),
}

impl AllowedHosts {
    /// For a process that listens on a loopback address, with the names of `--web.allowed-hosts`.
    ///
    /// # Errors
    /// If a name is none: it may have no port, scheme or path.
    pub fn loopback(names: &[String]) -> Result<Self, String> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
        let wrong = names.iter().find(|name| !is_pattern(name));
        match wrong {
            Some(name) => Err(format!(
                "\"{name}\" is no name of a host; examples are prom.example.com and *.example.com"
            )),
            None => Ok(Self::Loopback(names)),
        }
    }

    /// The first name by which a request calls the process and may not.
    ///
    /// A request without any, as HTTP/1.0 allows, is from no browser.
    pub(crate) fn foreign<'r, B>(&self, request: &'r Request<B>) -> Option<&'r str> {
        let Self::Loopback(names) = self else { return None };
        let authority = request.uri().authority().map(|authority| authority.as_str());
        let hosts = request.headers().get_all(header::HOST).iter();
        let hosts = hosts.map(|host| host.to_str().unwrap_or("(not ASCII)"));
        authority.into_iter().chain(hosts).find(|host| !is_allowed(host, names))
    }
}

fn is_pattern(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name == "*" || plain.parse::<IpAddr>().is_ok() || (!plain.is_empty() && plain.bytes().all(of_name))
}

fn is_allowed(authority: &str, names: &[String]) -> bool {
    let host = host_of(authority).to_ascii_lowercase();
    let matches = |name: &String| match name.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => host == *name,
    };
    is_loopback(&host) || names.iter().any(matches)
}

/// The host without its port, brackets and root: `[::1]:9090` is `::1`, `localhost.` is `localhost`.
///
/// What holds a `@` is told apart nowhere in the same way, so it stays whole and is no name of anybody.
fn host_of(authority: &str) -> &str {
    if authority.contains('@') {
        return authority;
    }
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    host.strip_suffix('.').unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    let address = host.parse().map(|address: IpAddr| address.to_canonical().is_loopback());
    address.unwrap_or(host == "localhost" || host.ends_with(".localhost"))
}

/// Pages of which origins may read answers and change something, beside those of the process itself.
#[derive(Clone, Debug, Default)]
pub enum CorsOrigin {
    /// None.
    #[default]
    None,
    /// All: `--web.cors.origin=.*`, which is Prometheus' default.
    Any,
    /// Those that a pattern matches as a whole.
    Pattern(Re2),
}

impl CorsOrigin {
    /// From the pattern of `--web.cors.origin`, which may be empty.
    ///
    /// # Errors
    /// If RE2 would refuse the pattern; the text says why.
    pub fn new(pattern: &str) -> Result<Self, String> {
        match pattern {
            "" => Ok(Self::None),
            ".*" => Ok(Self::Any),
            pattern => Re2::new_anchored(pattern).map(Self::Pattern),
        }
    }

    /// Does the flag name this origin?
    pub(crate) fn names(&self, origin: &str) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Pattern(pattern) => pattern.is_match(origin),
        }
    }

    /// The page that sends this request and may not change anything here; `None` if there is none.
    ///
    /// Behind a proxy that gives `Host` another value than the browser sent, `Origin` looks foreign; then
    /// `Sec-Fetch-Site: same-origin`, which only the browser can say, decides.
    pub(crate) fn foreign<'r, B>(&self, request: &'r Request<B>) -> Option<&'r str> {
        let text = |name| header_text(request.headers(), name);
        let (origin, site) = (text("origin"), text("sec-fetch-site"));
        let own = origin.is_some_and(|origin| is_origin_of(origin, request));
        let named = origin.is_some_and(|origin| self.names(origin));
        match (origin, site) {
            _ if named => None,
            (_, Some("same-origin")) => None,
            (Some(origin), None | Some("none")) => Some(origin).filter(|_| !own),
            (None, None | Some("none")) => None,
            (origin, Some(site)) => Some(origin.unwrap_or(site)),
        }
    }
}

fn header_text<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("(not ASCII)"))
}

/// Is the page from the address that is called? The scheme may differ where a proxy ends TLS.
fn is_origin_of<B>(origin: &str, request: &Request<B>) -> bool {
    let called = request.uri().authority().map(|authority| authority.as_str());
    let called = called.or_else(|| header_text(request.headers(), "host"));
    let page = origin.split_once("://").map(|(_, authority)| authority);
    page.zip(called).is_some_and(|(page, called)| page.eq_ignore_ascii_case(called))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)], uri: &str) -> Request<()> {
        let builder =
            headers.iter().fold(Request::post(uri), |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap()
    }

    #[test]
    fn a_loopback_process_is_called_by_loopback_names_and_those_that_are_allowed() {
        let names = ["prom.example.com".to_owned(), "*.Corp.example".to_owned(), "10.0.0.5".to_owned()];
        let hosts = AllowedHosts::loopback(&names).unwrap();
        for own in [
            "localhost",
            "LOCALHOST:9090",
            "localhost.:9090",
            "prom.localhost:80",
            "127.0.0.1",
            "127.8.9.1:9090",
            "[::1]:9090",
            "[::1]",
            "[::ffff:127.0.0.1]:1",
            "prom.example.com:443",
            "a.b.corp.example",
            "10.0.0.5:9090",
        ] {
            assert_eq!(hosts.foreign(&request(&[("host", own)], "/")), None, "{own}");
        }
        for foreign in [
            "evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "0.0.0.0:9090",
            "[::]:9090",
            "192.168.1.1",
            "corp.example",
            "x.prom.example.com",
            "localhost:80@evil.example",
            "",
        ] {
            assert_eq!(hosts.foreign(&request(&[("host", foreign)], "/")), Some(foreign));
            assert_eq!(AllowedHosts::Any.foreign(&request(&[("host", foreign)], "/")), None);
        }
        assert_eq!(hosts.foreign(&request(&[], "/")), None);
        let twice = request(&[("host", "localhost"), ("host", "evil.example")], "/");
        assert_eq!(hosts.foreign(&twice), Some("evil.example"));
        let absolute = request(&[("host", "localhost")], "http://evil.example/");
        assert_eq!(hosts.foreign(&absolute), Some("evil.example"));
        let all = AllowedHosts::loopback(&["*".to_owned()]).unwrap();
        assert_eq!(all.foreign(&request(&[("host", "evil.example")], "/")), None);
    }

    #[test]
    fn names_of_hosts_have_no_port_and_no_scheme() {
        for wrong in ["", "*.", "http://a", "a:9090", "a/b", "a b", "*a*"] {
            let error = AllowedHosts::loopback(&[wrong.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("\"{wrong}\"")), "{error}");
        }
    }

    /// The page that is refused, by `Origin` and `Sec-Fetch-Site` of a request that calls 127.0.0.1:9090.
    fn refused(pattern: &str, origin: &str, site: &str) -> Option<String> {
        let headers = [("host", "127.0.0.1:9090"), ("origin", origin), ("sec-fetch-site", site)];
        let sent: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        CorsOrigin::new(pattern).unwrap().foreign(&request(&sent, "/")).map(str::to_owned)
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let (evil, own) = ("https://evil.example", "http://127.0.0.1:9090");
        for (origin, site, page) in [
            (evil, "", Some(evil)),
            (evil, "cross-site", Some(evil)),
            (evil, "none", Some(evil)),
            ("null", "", Some("null")),
            ("", "cross-site", Some("cross-site")),
            ("", "same-site", Some("same-site")),
            ("http://127.0.0.1:3000", "same-site", Some("http://127.0.0.1:3000")),
            ("http://127.0.0.1:3000", "", Some("http://127.0.0.1:3000")),
            // Not from a browser; the page itself; the page behind a proxy that names itself in `Host`.
            ("", "", None),
            ("", "none", None),
            (own, "", None),
            (own, "same-origin", None),
            ("https://127.0.0.1:9090", "", None),
            ("https://prom.example.com", "same-origin", None),
        ] {
            assert_eq!(refused("", origin, site).as_deref(), page, "{origin} {site}");
            assert_eq!(refused("https://x", origin, site).as_deref(), page, "{origin} {site}");
        }
        assert_eq!(refused("https://evil.*", evil, "cross-site"), None);
        assert_eq!(refused("evil.*", evil, "cross-site").as_deref(), Some(evil), "anchored");
        assert_eq!(refused(".*", evil, "cross-site"), None);
        assert_eq!(refused(".*", "", "cross-site").as_deref(), Some("cross-site"));
    }
}
