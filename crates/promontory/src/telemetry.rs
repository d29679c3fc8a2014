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
    check_level(level)?;
    let filter = EnvFilter::try_new(with_quiet_guests(level))
        .map_err(|error| anyhow::anyhow!("--log.level: cannot understand \"{level}\": {error}"))?;
    // A log that cannot be written is no reason to end, and there is no other place to say so.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match format {
        LogFormat::Logfmt => builder.event_format(Logfmt).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A word that is no level is a target to the filter, and silences everything else.
///
/// # Errors
/// If a part of the filter is neither a level nor a target of ours or of a guest.
fn check_level(level: &str) -> anyhow::Result<()> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_target = |word: &str| word.contains("::") || word.starts_with("promontory") || word.contains('_');
    for part in level.split(',').map(str::trim) {
        let (target, level) = match part.split_once('=') {
            Some((target, level)) => (Some(target), Some(level)),
            None if LEVELS.iter().any(|known| part.eq_ignore_ascii_case(known)) => continue,
            None => (Some(part), None),
        };
        let knows_level =
            level.is_none_or(|level| LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)));
        let knows_target = level.is_some() || target.is_some_and(is_target);
        anyhow::ensure!(
            knows_level && knows_target,
            "--log.level: \"{part}\" is no level; levels are {}, and a filter is info,promontory_store=debug",
            LEVELS.join(", ")
        );
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
    fn what_is_no_level_is_refused() {
        for level in [
            "info",
            "WARN",
            "off",
            "info,promontory_store=debug",
            "promontory_store",
            "warn,hyper=error",
            "object_store",
        ] {
            assert!(check_level(level).is_ok(), "{level}");
        }
        for level in ["verbose", "", "warning", "info,loud", "promontory_store=loud", "fatal", "2"] {
            let error = check_level(level).unwrap_err().to_string();
            assert!(error.contains("--log.level") && error.contains("debug"), "{error}");
        }
    }

    #[test]
    fn repeats_of_the_stores_client_are_no_story() {
        assert_eq!(with_quiet_guests("info"), "info,object_store=warn");
        assert_eq!(with_quiet_guests("debug,object_store=info"), "debug,object_store=info");
        for level in ["info", "warn", "error", "info,promontory_store=debug"] {
            assert!(EnvFilter::try_new(with_quiet_guests(level)).is_ok(), "{level}");
        }
    }
}
