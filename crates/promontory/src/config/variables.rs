//! Variables of the environment that look like flags and are none.

use std::collections::BTreeSet;
use std::ffi::OsString;

const PREFIX: &str = "PROMONTORY_";

/// The suffixes of what Kubernetes sets in each pod for a service of the name `promontory`, or one that begins so.
const OF_KUBERNETES: [&str; 4] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_PORT_"];

/// What is to be said of those of `names` that begin as our variables do and belong to no flag of `command`.
pub fn odd(names: impl Iterator<Item = OsString>, command: &clap::Command) -> Vec<String> {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let arguments = commands.flat_map(clap::Command::get_arguments);
    let known: BTreeSet<String> =
        arguments.filter_map(|arg| arg.get_env().map(|name| name.to_string_lossy().into_owned())).collect();
    let names = names.filter_map(|name| name.into_string().ok());
    let odd =
        names.filter(|name| name.starts_with(PREFIX) && !known.contains(name) && !is_of_kubernetes(name));
    odd.map(|name| in_words(&name, &known)).collect()
}

fn is_of_kubernetes(name: &str) -> bool {
    // A name such as PROMONTORY_PORT_9090_TCP_ADDR has them inside.
    let name = format!("_{}", &name[PREFIX.len()..]);
    OF_KUBERNETES.iter().any(|suffix| name.contains(suffix))
}

fn in_words(name: &str, known: &BTreeSet<String>) -> String {
    let near = known.iter().map(|known| (distance(name, known), known)).min();
    match near.filter(|(distance, _)| distance * 3 <= name.len() - PREFIX.len()) {
        Some((_, near)) => {
            format!("the variable {name} belongs to no flag and changes nothing; is {near} meant?")
        }
        None => format!(
            "the variable {name} belongs to no flag and changes nothing; docs/flags.md lists those that do"
        ),
    }
}

/// Letters that differ, are missing or too many (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, of_a) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, of_b) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(of_a != of_b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_us_and_unknown_is_odd() {
        let odd = |name: &str| odd(std::iter::once(name.into()), &super::super::command());
        for name in [
            "PATH",
            "PROMONTORY",
            "PROMONTORY_STORE",
            "PROMONTORY_QUERY_MAX_MEMORY",
            "PROMONTORY_PORT",
            "PROMONTORY_SERVICE_HOST",
            "PROMONTORY_PORT_9090_TCP",
            "PROMONTORY_PORT_9090_TCP_ADDR",
            "PROMONTORY_SERVICE_PORT_HTTP",
            "PROMONTORY_QUERIER_SERVICE_HOST",
            "PROMONTORY_QUERIER_PORT_9090_TCP_PORT",
        ] {
            assert_eq!(odd(name), [""; 0], "{name}");
        }
        let said = odd("PROMONTORY_QUERY_MAXMEMORY").concat();
        assert!(
            said.contains("PROMONTORY_QUERY_MAXMEMORY")
                && said.contains("is PROMONTORY_QUERY_MAX_MEMORY meant?"),
            "{said}"
        );
        assert!(odd("PROMONTORY_COLOUR").concat().contains("docs/flags.md"));
    }

    #[test]
    fn distances_count_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("", "xy", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
