//! The pages that are made from the definitions of the flags: `docs/flags.md` and the table of the
//! README. `PROMONTORY_BLESS=1 cargo test -p promontory config` writes them anew.

use std::path::PathBuf;

use clap::{Arg, ArgAction};

use super::command;

/// The flags of the README's table: those that a first user may want to change.
const IN_README: [&str; 13] = [
    "store",
    "role",
    "web.listen-address",
    "auth.multitenancy-enabled",
    "query.timeout",
    "query.max-samples",
    "query.max-concurrency",
    "query.lookback-delta",
    "ingester.flush-interval",
    "ingester.block-interval",
    "compactor.l2-after",
    "cache.samples",
    "log.level",
];

const README_BEGIN: &str = "<!-- Made from the definitions of the flags; do not edit. -->\n";
const README_END: &str = "<!-- End of what is made. -->\n";

#[test]
fn the_page_of_flags_says_what_is_defined() {
    compare("docs/flags.md", |_| page());
}

#[test]
fn the_table_of_the_readme_says_what_is_defined() {
    compare("README.md", |found| {
        let (before, rest) = found.split_once(README_BEGIN).expect("the begin of the table");
        let (_, after) = rest.split_once(README_END).expect("the end of the table");
        format!("{before}{README_BEGIN}\n{}\n{README_END}{after}", readme_table())
    });
}

fn compare(path: &str, expected: impl Fn(&str) -> String) {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let found = std::fs::read_to_string(&full).unwrap_or_default();
    let expected = expected(&found);
    if std::env::var_os(promontory_testkit::conformance::BLESS_VARIABLE).is_some() {
        std::fs::write(&full, expected).unwrap();
        return;
    }
    assert!(found == expected, "{path} differs from the flags; PROMONTORY_BLESS=1 writes it anew");
}

fn page() -> String {
    let mut text = String::from(
        "# Flags\n\n\
         Made from the definitions in `crates/promontory/src/config/` by a test; do not edit.\n\n\
         A flag wins over its environment variable.\n\
         Durations are written as in Prometheus (`1m30s`), sizes as `512MB`, where a unit is a power of 1,024, or in whole bytes.\n\
         What is off or on takes `true`, `false`, `1`, `0`, `yes`, `no`, and without a value it is on.\n\
         A variable that begins with `PROMONTORY_` and is none of these is named in the log; those that Kubernetes makes of a service of that name are not.\n\
         `GET /api/v1/status/flags` shows what a running process uses.\n",
    );
    let command = command();
    let mut heading = None;
    for arg in flags(&command) {
        if heading != arg.get_help_heading() {
            heading = arg.get_help_heading();
            text.push_str(&format!("\n## {}\n\n", heading.unwrap_or("Other")));
            text.push_str("| flag | environment variable | default | meaning |\n|---|---|---|---|\n");
        }
        let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (flag, default, help) = (flag(arg), default(arg), help(arg));
        text.push_str(&format!("| {flag} | `{variable}` | {default} | {help} |\n"));
    }
    text
}

fn readme_table() -> String {
    let mut text = String::from("| flag | default | meaning |\n|---|---|---|\n");
    let command = command();
    for name in IN_README {
        let arg = flags(&command).find(|arg| arg.get_long() == Some(name)).expect(name);
        text.push_str(&format!("| {} | {} | {} |\n", flag(arg), default(arg), help(arg)));
    }
    text
}

/// The flags of serving in the order of `--help`.
fn flags(command: &clap::Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some())
}

fn flag(arg: &Arg) -> String {
    format!("`--{}`", arg.get_long().unwrap_or_default())
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    let values: Vec<_> = values.collect();
    match arg.get_action() {
        ArgAction::SetTrue => "off".to_owned(),
        _ if values == ["false"] => "off".to_owned(),
        _ if values.is_empty() => String::new(),
        _ => format!("`{}`", values.join(",")),
    }
}

fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
    let help = help.trim_end_matches('.').replace('|', "\\|");
    if names.is_empty() || default(arg) == "off" {
        return help;
    }
    format!("{help} ({})", names.join(", "))
}
