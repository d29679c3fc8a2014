//! Small blocking HTTP: a base address, forms, bytes, and what came back.

use std::time::Duration;

use serde_json::Value;

/// Longer than any query limit that the suites set.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    base: String,
    tenant: Option<String>,
    client: reqwest::blocking::Client,
}

/// What went wrong, and below it why: the outer error names only the address.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

/// A page of metrics.
pub struct Metrics(String);

impl Metrics {
    /// The sum over the lines of `name` whose labels contain `labels`; `None` if there is no such line.
    pub fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let values: Vec<f64> = self.0.lines().filter_map(|line| metric_value(line, name, labels)).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// When the server asks to come back, as it says it.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Client {
    /// A client of `http://127.0.0.1:<port>`.
    pub fn new(port: u16) -> Self {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.expect("a client without TLS cannot fail to build");
        Self { base: format!("http://127.0.0.1:{port}"), tenant: None, client }
    }

    /// The same server, given up on after another time than the default.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(timeout).build();
        Self { client: client.expect("a client without TLS cannot fail to build"), ..self.clone() }
    }

    /// The same server, as one tenant.
    pub fn with_tenant(&self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self.clone() }
    }

    /// GET with query parameters.
    ///
    /// # Errors
    /// If there was no whole answer.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, String> {
        self.send(self.client.get(self.url(path)).query(query))
    }

    /// POST of a form.
    ///
    /// # Errors
    /// If there was no whole answer.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Answer, String> {
        self.send(self.client.post(self.url(path)).form(fields))
    }

    /// POST of bytes with headers.
    ///
    /// # Errors
    /// If there was no whole answer.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        let mut request = self.client.post(self.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request)
    }

    /// PUT of bytes.
    ///
    /// # Errors
    /// If there was no whole answer.
    pub fn put(&self, path: &str, body: Vec<u8>) -> Result<Answer, String> {
        self.send(self.client.put(self.url(path)).body(body))
    }

    /// One value of `/metrics`: the sum over the lines of `name` whose labels contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        self.metrics().ok()?.value(name, labels)
    }

    /// All of `/metrics` at one moment.
    ///
    /// # Errors
    /// If there was no whole answer, or none of status 200.
    pub fn metrics(&self) -> Result<Metrics, String> {
        let answer = self.get("/metrics", &[])?;
        if answer.status == 200 {
            Ok(Metrics(answer.text()))
        } else {
            Err(format!("status {}", answer.status))
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn send(&self, mut request: reqwest::blocking::RequestBuilder) -> Result<Answer, String> {
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        let answer = request.send().map_err(|error| with_causes(&error))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get("Retry-After").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = answer.bytes().map_err(|error| with_causes(&error))?.to_vec();
        Ok(Answer { status, retry_after, body })
    }
}

fn metric_value(line: &str, name: &str, labels: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (set, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    if !set.contains(labels) {
        return None;
    }
    value.split_whitespace().next()?.parse().ok()
}
