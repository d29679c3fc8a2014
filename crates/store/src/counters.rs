//! What the protocol did, as plain counters that the binary exports.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of the protocol's machines; they only rise.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// Every counter by name, in the order of their declaration.
            #[must_use]
            pub fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Catalog versions created by this process.
    commits,
    /// Commit attempts that lost their version to somebody else.
    commit_conflicts,
    /// Commits whose version lay in a swept epoch.
    commits_in_swept_epochs,
    /// Commits given up because a precondition no longer held.
    commits_void,
    /// Catalog versions read and applied.
    versions_applied,
    /// Catalog opened or opened again from the last swept epoch.
    catalog_starts,
    /// Complete checkpoints written.
    checkpoints_written,
    /// Checkpoints that could not be written or read; each costs a longer replay.
    checkpoints_failed,
    /// Writers born.
    writer_births,
    /// Writers of this process that somebody else closed.
    writers_closed_by_others,
    /// Writers of this process with a slot that holds foreign or damaged bytes.
    writers_quarantined,
    /// Segments that became durable.
    segments,
    /// Bytes of those segments.
    segment_bytes,
    /// Cuts that became several segments because one would have been too large.
    segments_cut,
    /// Slots whose PUT was not answered with success.
    slot_unknown_answers,
    /// Appends refused because too much lies above the watermark.
    appends_backlogged,
    /// L1 blocks committed.
    l1_commits,
    /// Samples in those blocks.
    l1_rows,
    /// Dead writers closed and taken over.
    adoptions,
    /// Adoptions that failed; a later round goes on.
    adoptions_failed,
    /// Adoptions that had to start again.
    adoptions_void,
    /// Merges committed.
    merges,
    /// Merges given up because their inputs were gone.
    merges_void,
    /// Damaged L1 blocks that a tenant's merge went past; their rows stay in L1.
    l1_blocks_passed_over,
    /// Sweeps that ran to their end.
    sweeps,
    /// Objects deleted by sweeps.
    objects_swept,
    /// Bytes of those objects.
    bytes_swept,
    /// Epochs of catalog versions swept.
    epochs_swept,
    /// Segments fetched by the tail.
    tail_segments,
    /// Bytes of those segments.
    tail_bytes,
    /// Probes of a writer's next slot that failed.
    tail_probe_failures,
    /// Looks at the store that do not count, because it denied what had been there before.
    absences_refused,
    /// Reads of one object repeated because its bytes were damaged.
    damaged_reads,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
