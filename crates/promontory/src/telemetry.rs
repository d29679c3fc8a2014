//! Logs: structured, on standard error, one line each, as logfmt or JSON.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;

/// Starts logging for the whole process.
///
/// # Errors
/// If `level` is not a level or filter.
pub fn start(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(with_quiet_guests(level))
        .map_err(|error| anyhow::anyhow!("--log.level: cannot understand \"{level}\": {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Logfmt => builder.event_format(Logfmt).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The client of the object store logs each of its repeats at `info`, several a second while a store is away;
/// what those come to is in the log of outages. Who names the client in the filter gets what it says.
fn with_quiet_guests(level: &str) -> String {
    const CLIENT: &str = "object_store";
    if level.contains(CLIENT) { level.to_owned() } else { format!("{level},{CLIENT}=warn") }
}

/// `time=... level=INFO source=... msg="..." key=value`, as Prometheus logs.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        let metadata = event.metadata();
        write!(writer, " level={} source={}", metadata.level(), metadata.target())?;
        let mut fields = Fields { message: String::new(), rest: String::new() };
        event.record(&mut fields);
        writeln!(writer, " msg={}{}", quoted(&fields.message), fields.rest)
    }
}

struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.rest.push(' ');
            self.rest.push_str(field.name());
            self.rest.push('=');
            self.rest.push_str(&quoted(value));
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=';
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        promontory_model::labels::quote(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_the_stores_client_are_no_story() {
        assert_eq!(with_quiet_guests("info"), "info,object_store=warn");
        assert_eq!(with_quiet_guests("debug,object_store=info"), "debug,object_store=info");
        for level in ["info", "warn", "error", "info,promontory_store=debug"] {
            assert!(EnvFilter::try_new(with_quiet_guests(level)).is_ok(), "{level}");
        }
    }
}
