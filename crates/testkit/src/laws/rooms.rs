//! Which crate may use what: the table of rooms and the law on direct dependencies.
//!
//! A new crate or dependency is added to [`ROOMS`] in the same commit; the row says what the crate
//! keeps out of everyone else.

use std::collections::BTreeSet;

use super::facts::{EdgeKind, Member, room_name};

/// Most crates on one way down from the binary, both ends counted.
pub const CHAIN_CRATES_MAX: usize = 6;

/// One crate of the workspace and what it may name in its manifest.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Package name without the prefix `promontory-`; the binary is `promontory`.
    pub name: &'static str,
    /// Workspace crates that it may use.
    pub uses: &'static [&'static str],
    /// Foreign libraries that it may use, beside [`PLUMBING`].
    pub guests: &'static [&'static str],
    /// Foreign libraries that its tests alone may use, beside [`TEST_TOOLS`].
    pub test_guests: &'static [&'static str],
}

/// What every crate may use.
pub const PLUMBING: &[&str] = &["bytes", "futures-core", "thiserror", "tracing"];

/// What the tests of every crate may use: nothing here decides where an idea lives.
pub const TEST_TOOLS: &[&str] = &["proptest", "rand", "tempfile", "tokio", "serde", "serde_json", "futures"];

/// The table of allowed edges. Dependencies point down: a row uses only rows above it.
pub const ROOMS: &[Room] = &[
    Room {
        name: "model",
        uses: &[],
        guests: &["aho-corasick", "regex-automata", "regex-syntax", "zmij"],
        test_guests: &[],
    },
    Room { name: "wire", uses: &["model"], guests: &["prost", "snap", "zstd", "flate2"], test_guests: &[] },
    Room { name: "promql", uses: &["model"], guests: &[], test_guests: &["promql-parser"] },
    Room { name: "plan", uses: &["model", "promql"], guests: &[], test_guests: &[] },
    Room {
        name: "block",
        uses: &["model"],
        guests: &["arrow", "parquet", "crc32c", "xxhash-rust", "zstd"],
        test_guests: &[],
    },
    Room {
        name: "store",
        uses: &["model", "block"],
        guests: &[
            "object_store",
            "moka",
            "hashbrown",
            "tokio",
            "futures",
            "async-trait",
            "rand",
            "ulid",
            "url",
            "crc32c",
            "xxhash-rust",
        ],
        test_guests: &[],
    },
    Room {
        name: "query",
        uses: &["model", "promql", "plan", "block", "store"],
        guests: &["datafusion", "arrow", "futures", "async-trait", "tokio", "moka"],
        test_guests: &["object_store"],
    },
    Room {
        name: "ingester",
        uses: THINGS,
        guests: &["tokio", "async-trait", "hashbrown", "xxhash-rust"],
        test_guests: &["object_store"],
    },
    Room { name: "querier", uses: THINGS, guests: &["tokio"], test_guests: &[] },
    Room {
        name: "compactor",
        uses: THINGS,
        guests: &["tokio", "async-trait"],
        test_guests: &["object_store"],
    },
    Room {
        name: "api",
        uses: &["model", "wire", "promql"],
        guests: &["axum", "multer", "tower", "tower-http", "tokio", "serde", "serde_json"],
        test_guests: &["flate2", "snap", "prost"],
    },
    Room {
        name: "sql",
        uses: &["promql", "query", "api"],
        guests: &["arrow", "axum", "serde", "serde_json"],
        test_guests: &["tower"],
    },
    Room {
        name: "testkit",
        uses: &["model", "promql", "block", "store"],
        guests: &["object_store", "tokio", "futures", "async-trait", "rand", "cargo_metadata"],
        test_guests: &[],
    },
    Room {
        name: "promontory",
        uses: &[
            "model",
            "wire",
            "promql",
            "block",
            "store",
            "query",
            "ingester",
            "querier",
            "compactor",
            "api",
            "sql",
        ],
        guests: &[
            "anyhow",
            "clap",
            "tokio",
            "tokio-util",
            "axum",
            "tower",
            "tower-http",
            "hyper",
            "hyper-util",
            "prometheus-client",
            "tikv-jemallocator",
            "tracing-subscriber",
            "object_store",
            "async-trait",
            "futures",
            "url",
            "rand",
        ],
        test_guests: &["reqwest", "prost", "snap", "flate2", "object_store"],
    },
    Room {
        name: "benches",
        uses: &["model", "wire", "promql", "block", "store", "query", "ingester", "api", "promontory"],
        guests: &[
            "anyhow",
            "clap",
            "tokio",
            "rand",
            "serde",
            "serde_json",
            "reqwest",
            "snap",
            "prost",
            "object_store",
            "tempfile",
        ],
        test_guests: &[],
    },
];

/// What a role may use: the things, never another role.
const THINGS: &[&str] = &["model", "wire", "promql", "plan", "block", "store", "query"];

/// Law 1: direct dependencies stay inside [`ROOMS`].
#[must_use]
pub fn crate_edges(members: &[Member]) -> Vec<String> {
    let own: BTreeSet<&str> = members.iter().map(|member| room_name(&member.name)).collect();
    let mut found = Vec::new();
    for member in members {
        let name = room_name(&member.name);
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            found.push(format!("{}: no row in the table of rooms", member.name));
            continue;
        };
        for edge in &member.edges {
            let to = room_name(&edge.to);
            let allowed = if own.contains(to) && edge.to.starts_with("promontory") {
                may_use(room, to, edge.kind)
            } else {
                may_host(room, &edge.to, edge.kind)
            };
            if !allowed {
                found.push(format!("{name}: may not use {} ({:?} dependency)", edge.to, edge.kind));
            }
        }
    }
    found
}

/// Law 2: no way down from the binary passes through more than [`CHAIN_CRATES_MAX`] crates.
///
/// Counted are crates, the binary and the lowest one included, along dependencies that are compiled
/// in; for example `promontory` → `sql` → `query` → `store` → `block` → `model` are six. Each crate
/// more is a wait in every build, because a crate compiles only after those below it.
#[must_use]
pub fn longest_chain(members: &[Member]) -> Vec<String> {
    let chain = chain_below("promontory", members, members.len());
    let too_long = chain.len() > CHAIN_CRATES_MAX;
    let say = || {
        format!("{} crates in one chain, {CHAIN_CRATES_MAX} are allowed: {}", chain.len(), chain.join(" -> "))
    };
    too_long.then(say).into_iter().collect()
}

/// The longest chain that begins with `name`; `crates_max` ends it where made-up members form a circle.
fn chain_below<'m>(name: &'m str, members: &'m [Member], crates_max: usize) -> Vec<&'m str> {
    let Some(member) = members.iter().find(|member| room_name(&member.name) == name) else {
        return Vec::new();
    };
    let below = member.edges.iter().filter(|edge| edge.kind != EdgeKind::Development && crates_max > 0);
    let chains = below.map(|edge| chain_below(room_name(&edge.to), members, crates_max - 1));
    let mut chain = vec![name];
    chain.extend(chains.max_by_key(Vec::len).unwrap_or_default());
    chain
}

/// Tests may also use this crate, and what their crate's users could hand in.
fn may_use(room: &Room, to: &str, kind: EdgeKind) -> bool {
    room.uses.contains(&to) || (kind == EdgeKind::Development && (to == "testkit" || THINGS.contains(&to)))
}

fn may_host(room: &Room, guest: &str, kind: EdgeKind) -> bool {
    let hosted = PLUMBING.contains(&guest) || room.guests.contains(&guest);
    hosted
        || (kind == EdgeKind::Development
            && (TEST_TOOLS.contains(&guest) || room.test_guests.contains(&guest)))
}
