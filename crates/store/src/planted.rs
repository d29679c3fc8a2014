//! Planted bugs: a checker that never failed proves nothing.
//!
//! A planted bug is a run-time value that breaks one rule of the protocol at its exact decision
//! point, so that the simulator can prove that it would notice. It exists only with the cargo
//! feature `planted-bugs`, which no shipped build has: without it [`Planted::is`] is always false
//! and the compiler removes every broken branch.
//!
//! [`panic_when_asked`] is of the same kind for roles: it ends one of them in a real process, to show
//! that the process notices.

use std::convert::Infallible;

/// One broken rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A writer acknowledges when a slot's PUT was sent, not when it holds the bytes.
    AcknowledgeEarly,
    /// The watermark from which an L1 commit or a closing starts is not compared.
    SkipWatermarkCheck,
    /// A writer that finds a closed mark in its slot takes the next slot under the same id.
    IgnoreClosedMark,
    /// The sweeper deletes closed marks with the segments around them.
    SweepClosedMark,
    /// A commit adds objects whose base is below the floor.
    CommitBelowFloor,
    /// The sweeper raises the floor to the newest version at once.
    SweepWithoutGrace,
    /// A reader publishes what it read forward without asking whether that epoch was swept.
    ReadPastSweptEpoch,
    /// A committer builds on the version that it holds and does not ask whether the epoch of its new
    /// version was swept.
    CommitIntoSweptEpoch,
    /// A merge from L1 commits although its tenant's L1 watermark has moved.
    MergeSkipsL1Check,
    /// A merge adds up the values that two inputs hold for one timestamp.
    DoubleCountInMerge,
    /// A merge raises the L1 watermark past a damaged block without saying that it passed it over.
    ForgetPassedOver,
    /// A merge takes the rows of the L1 object's first tenant, whoever asked.
    WrongTenantPrefix,
    /// An adopter takes a slot that the store does not deliver for an empty one.
    SwallowUnavailable,
    /// Blocks are decoded whatever their checksums say.
    SkipChecksum,
    /// What the store denies is absent: nobody looks for what must be there.
    BelieveAbsence,
    /// What is read back after an error is taken for kept, although its name may not outlast a power loss.
    TrustReadBack,
}

impl Bug {
    /// Every planted bug.
    pub const ALL: [Self; 16] = [
        Self::AcknowledgeEarly,
        Self::SkipWatermarkCheck,
        Self::IgnoreClosedMark,
        Self::SweepClosedMark,
        Self::CommitBelowFloor,
        Self::SweepWithoutGrace,
        Self::ReadPastSweptEpoch,
        Self::CommitIntoSweptEpoch,
        Self::MergeSkipsL1Check,
        Self::DoubleCountInMerge,
        Self::ForgetPassedOver,
        Self::WrongTenantPrefix,
        Self::SwallowUnavailable,
        Self::SkipChecksum,
        Self::BelieveAbsence,
        Self::TrustReadBack,
    ];

    /// The name in reports and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcknowledgeEarly => "acknowledge-early",
            Self::SkipWatermarkCheck => "skip-watermark-check",
            Self::IgnoreClosedMark => "ignore-closed-mark",
            Self::SweepClosedMark => "sweep-closed-mark",
            Self::CommitBelowFloor => "commit-below-floor",
            Self::SweepWithoutGrace => "sweep-without-grace",
            Self::ReadPastSweptEpoch => "read-past-swept-epoch",
            Self::CommitIntoSweptEpoch => "commit-into-swept-epoch",
            Self::MergeSkipsL1Check => "merge-skips-l1-check",
            Self::DoubleCountInMerge => "double-count-in-merge",
            Self::ForgetPassedOver => "forget-passed-over",
            Self::WrongTenantPrefix => "wrong-tenant-prefix",
            Self::SwallowUnavailable => "swallow-unavailable",
            Self::SkipChecksum => "skip-checksum",
            Self::BelieveAbsence => "believe-absence",
            Self::TrustReadBack => "trust-read-back",
        }
    }
}

/// The protocol's rules, of which at most one is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(feature = "planted-bugs")]
    bug: Option<Bug>,
}

impl Planted {
    /// No rule is broken.
    pub const NONE: Self = Self {
        #[cfg(feature = "planted-bugs")]
        bug: None,
    };

    /// All rules hold but the one that `bug` breaks.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub const fn one(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Asked where the protocol keeps the rule that `bug` breaks.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// True if `bug` is planted: never, in a build without the feature.
    #[cfg(not(feature = "planted-bugs"))]
    #[must_use]
    #[inline(always)]
    pub const fn is(self, _bug: Bug) -> bool {
        false
    }
}

/// The variable that names the file which says where to panic.
#[cfg(feature = "planted-bugs")]
const PANIC_VARIABLE: &str = "PROMONTORY_PLANTED_PANIC";

/// Panics once the file that `PROMONTORY_PLANTED_PANIC` names holds `place` and nothing else; otherwise never
/// resolves. A role polls it beside its loop, so that a suite can end that role in a running process.
#[cfg(feature = "planted-bugs")]
pub async fn panic_when_asked(place: &'static str) -> Infallible {
    /// Short beside the second within which the process must have ended.
    const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);
    let Some(file) = std::env::var_os(PANIC_VARIABLE) else { return std::future::pending().await };
    loop {
        if std::fs::read_to_string(&file).is_ok_and(|text| text == place) {
            panic!("planted in {place}");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Panics where a suite asked for it: never, in a build without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub async fn panic_when_asked(_place: &'static str) -> Infallible {
    std::future::pending().await
}
