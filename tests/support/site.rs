//! A Promontory over one store, as one process of all roles or as one process per role, with the
//! server of its store: what suites kill and freeze.

use std::path::Path;
use std::time::Duration;

use super::http::Client;
use super::load::Questions;
use super::servers::{Azurite, Minio, Promontory, Store};
use super::workdir::Workdir;

/// Samples that are acknowledged are in the answers of another process after this long.
pub const VISIBLE_AFTER: Duration = Duration::from_secs(2);

/// [`VISIBLE_AFTER`], and time for a loaded machine.
const SEEN_ELSEWHERE_AFTER: Duration = Duration::from_secs(3);
/// A reader in another process names what it could not probe for ten seconds; what is older than that
/// is in every answer without a warning.
const SEEN_ELSEWHERE_AFTER_OUTAGE: Duration = Duration::from_secs(12);

/// How the roles lie in processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All roles in one process.
    AllInOne,
    /// Ingester, compactor and querier apart.
    Split,
}

/// Where the bytes of a site lie; a path is that of the server's binary.
#[derive(Clone, Copy, Debug)]
pub enum Backing<'a> {
    /// A folder.
    Folder,
    /// MinIO.
    Minio(&'a Path),
    /// Azurite.
    Azurite(&'a Path),
}

/// The server of a store; a folder has none.
enum Server {
    None,
    Minio(Minio),
    Azurite(Azurite),
}

/// The running programs.
pub struct Site {
    server: Server,
    /// Where the bytes lie.
    pub store: Store,
    /// The one process, or ingester, compactor and querier in this order.
    roles: Vec<Promontory>,
}

impl Site {
    /// Starts the server of the store and everything else, until it is ready.
    pub fn start(layout: Layout, backing: Backing<'_>, workdir: &Workdir, flags: &[&str]) -> Self {
        let server = match backing {
            Backing::Folder => Server::None,
            Backing::Minio(binary) => Server::Minio(Minio::start(binary, workdir.path())),
            Backing::Azurite(binary) => Server::Azurite(Azurite::start(binary, workdir.path())),
        };
        let store = match &server {
            Server::None => Store::folder(&workdir.join("data")),
            Server::Minio(minio) => Store::minio(minio, "site"),
            Server::Azurite(azurite) => Store::azurite(azurite, "site"),
        };
        let names: &[&str] = match layout {
            Layout::AllInOne => &["all"],
            Layout::Split => &["ingester", "compactor", "querier"],
        };
        let start = |name: &&str| {
            let role = format!("--role={name}");
            let flags: Vec<&str> = flags.iter().copied().chain([role.as_str()]).collect();
            Promontory::start(name, workdir.path(), &store, &flags)
        };
        let roles = names.iter().map(start).collect();
        Self { server, store, roles }
    }

    /// Speaks to whoever takes samples.
    pub fn writer(&self) -> Client {
        self.ingester().client.clone()
    }

    /// Speaks to whoever answers queries.
    pub fn reader(&self) -> Client {
        self.roles.last().expect("there is a process").client.clone()
    }

    /// Whoever takes samples.
    pub fn ingester(&self) -> &Promontory {
        &self.roles[0]
    }

    /// What holds for every question that is asked of the reader.
    pub fn questions(&self, answer_max: Duration) -> Questions {
        let (seen_after, seen_after_outage) = match self.roles.len() {
            1 => (Duration::ZERO, Duration::ZERO),
            _ => (SEEN_ELSEWHERE_AFTER, SEEN_ELSEWHERE_AFTER_OUTAGE),
        };
        Questions { seen_after, seen_after_outage, answer_max }
    }

    /// A process by the name of its role.
    ///
    /// # Panics
    /// If there is none.
    pub fn role(&mut self, name: &str) -> &mut Promontory {
        self.roles.iter_mut().find(|role| role.name() == name).expect("a process of this name")
    }

    /// All processes but the store's server.
    pub fn roles(&mut self) -> &mut [Promontory] {
        &mut self.roles
    }

    /// The server of the store.
    ///
    /// # Panics
    /// If that is not MinIO.
    pub fn minio(&mut self) -> &mut Minio {
        match &mut self.server {
            Server::Minio(minio) => minio,
            _ => panic!("the store is not MinIO's"),
        }
    }

    /// `kill -9` of every process but the store's server, and all of them again.
    pub fn kill_all_and_restart(&mut self) {
        self.roles.iter_mut().for_each(Promontory::kill);
        self.roles.iter_mut().for_each(Promontory::restart);
    }

    /// SIGTERM to every process but the store's server.
    ///
    /// # Panics
    /// If one of them does not end with success.
    pub fn terminate(&mut self) {
        for role in &mut self.roles {
            let status = role.terminate();
            assert!(status.success(), "{} after SIGTERM: {status}", role.name());
        }
    }
}
