//! Paths as people type them, and what Go's routers make of them before a route is looked for.
//!
//! - Escapes of letters, digits and `-._~` mean what they stand for: `/%2D/healthy` is `/-/healthy`.
//! - A path with empty, `.` or `..` segments is redirected (307) to the one without.
//! - A path that is a route but for a slash at its end, or but for the case of its letters, is redirected to that
//!   route: by 301, or by 307 where a method other than `GET` must be kept.
//!
//! Source: Go 1.26 `net/http` (`cleanPath`, `ServeMux`), `julienschmidt/httprouter` as prometheus v3.16 configures it.
//! Difference: its redirects below `/api/v1` lose that prefix, ours keep it.

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// What to do with a path before its route is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    AsItIs,
    /// Take this one.
    Written(String),
    /// Send the client there.
    Redirected(String),
}

/// What to do with `path`.
pub(crate) fn way(path: &str) -> Way {
    if !path.starts_with('/') {
        return Way::AsItIs;
    }
    let plain = unescaped(path);
    let clean = cleaned(&plain);
    if clean != plain {
        Way::Redirected(clean)
    } else if plain != path {
        Way::Written(plain)
    } else {
        Way::AsItIs
    }
}

/// `uri` with another path; itself if that makes none.
pub(crate) fn with_path(uri: &Uri, path: &str) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target(uri, path)).ok().or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Sends the client to another path with the same parameters.
pub(crate) fn redirect(status: StatusCode, uri: &Uri, path: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(target(uri, path)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    (status, [(header::LOCATION, location)], format!("{}\n", status.canonical_reason().unwrap_or_default()))
        .into_response()
}

fn target(uri: &Uri, path: &str) -> String {
    uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// Where a path that is no route leads: to one of `routes` that differs by a slash at the end or by case.
pub(crate) fn near(method: &Method, path: &str, routes: &[&'static str]) -> Option<(StatusCode, String)> {
    let status = match *method {
        Method::GET => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::TEMPORARY_REDIRECT,
    };
    let stripped = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
    let found = routes.iter().find_map(|route| spelled(route, stripped))?;
    (found != path).then_some((status, found))
}

/// `path` as `route` spells it, if it is that route but for case.
fn spelled(route: &str, path: &str) -> Option<String> {
    let (of_route, of_path) = (route.split('/'), path.split('/'));
    if of_route.clone().count() != of_path.clone().count() {
        return None;
    }
    let segment = |(route, path): (&str, &str)| {
        let is_name = route.starts_with('{') && !path.is_empty();
        if is_name {
            Some(path.to_owned())
        } else {
            route.eq_ignore_ascii_case(path).then(|| route.to_owned())
        }
    };
    of_route.zip(of_path).map(segment).collect::<Option<Vec<_>>>().map(|segments| segments.join("/"))
}

/// Without escapes of what needs none.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let byte = behind.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &behind[2..];
            }
            None => {
                out.push('%');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Without empty, `.` and `..` segments; a slash at the end stays.
fn cleaned(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let ends_in_slash = path.ends_with('/') && !segments.is_empty();
    format!("/{}{}", segments.join("/"), if ends_in_slash { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_taken_redirected_or_left_alone() {
        let to = |path: &str| Way::Redirected(path.to_owned());
        let as_if = |path: &str| Way::Written(path.to_owned());
        for (path, expected) in [
            ("/", Way::AsItIs),
            ("*", Way::AsItIs),
            ("/-/healthy", Way::AsItIs),
            ("/-/healthy/", Way::AsItIs),
            ("/api/v1/label/a%2Fb/values", Way::AsItIs),
            ("/a%zz%2", Way::AsItIs),
            ("//", to("/")),
            ("//evil.example/", to("/evil.example/")),
            ("/api//v1/labels", to("/api/v1/labels")),
            ("/api/v1/../v1/labels", to("/api/v1/labels")),
            ("/../../etc", to("/etc")),
            ("/./-/healthy", to("/-/healthy")),
            ("/%2e%2e/x", to("/x")),
            ("/%2D/healthy", as_if("/-/healthy")),
            ("/api/v1/label/%6Aob%20x/values", as_if("/api/v1/label/job%20x/values")),
        ] {
            assert_eq!(way(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_nearly_a_route_leads_there() {
        const ROUTES: [&str; 3] = ["/", "/-/healthy", "/api/v1/label/{name}/values"];
        let near = |method: Method, path: &str| near(&method, path, &ROUTES);
        let moved = |path: &str| Some((StatusCode::MOVED_PERMANENTLY, path.to_owned()));
        assert_eq!(near(Method::GET, "/-/healthy/"), moved("/-/healthy"));
        assert_eq!(near(Method::GET, "/-/Healthy"), moved("/-/healthy"));
        assert_eq!(near(Method::GET, "/API/v1/label/Job/values/"), moved("/api/v1/label/Job/values"));
        assert_eq!(
            near(Method::POST, "/-/healthy/"),
            Some((StatusCode::TEMPORARY_REDIRECT, "/-/healthy".to_owned()))
        );
        for path in ["/", "/-/healthy", "/nothing/", "/api/v1/label//values", "/-/healthy//"] {
            assert_eq!(near(Method::GET, path), None, "{path}");
        }
    }
}
