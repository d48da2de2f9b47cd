//! Why a release was not adopted: one closed list that feeds logs, metric labels and `weft verify`.

use std::fmt;

use super::clock::UtcTime;
use super::digest::Digest;
use super::payload::Role;
use super::version::ProgramVersion;
use crate::json::JsonError;

/// Why a release was not adopted. Whatever it is, the active one is untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateError {
    /// The store did not answer.
    Store {
        /// What was asked for.
        object: String,
        /// What went wrong.
        message: String,
    },
    /// The store does not have an object that must be there.
    Missing {
        /// What was asked for.
        object: String,
    },
    /// The state directory cannot be read or written, or its record makes no sense.
    State {
        /// What was read or written.
        name: String,
        /// What went wrong.
        message: String,
    },
    /// More bytes than an object of its kind may have.
    Oversized {
        /// The object.
        object: String,
        /// The most it may have.
        cap: u64,
    },
    /// Fewer bytes than were signed for, or a text that ends too early.
    Truncated {
        /// The object.
        object: String,
    },
    /// Not JSON, not strict JSON, or not of the right shape.
    BadJson {
        /// The object.
        object: String,
        /// What is wrong.
        message: String,
    },
    /// An envelope with a field that is not base64.
    BadEnvelope {
        /// The object.
        object: String,
        /// What is wrong.
        message: String,
    },
    /// An envelope with more than 16 signatures.
    TooManySignatures {
        /// The object.
        object: String,
    },
    /// An envelope that holds another type of payload than belongs there.
    PayloadType {
        /// The object.
        object: String,
        /// The type it names.
        found: String,
    },
    /// No signature names, or is by, a key of the role.
    UnknownKey {
        /// The object.
        object: String,
        /// The role whose keys must sign it.
        role: Role,
        /// The key ids that the signatures name.
        seen: Vec<String>,
    },
    /// Some keys of the role are named, but too few of them signed.
    Threshold {
        /// The object.
        object: String,
        /// The role whose keys must sign it.
        role: Role,
        /// How many must.
        needed: usize,
        /// How many did.
        valid: usize,
        /// The key ids that the signatures name.
        seen: Vec<String>,
    },
    /// A signed payload that says what cannot be.
    BadPayload {
        /// The object.
        object: String,
        /// What is wrong.
        message: &'static str,
    },
    /// A root that is not the one after the newest we trust.
    RootVersion {
        /// The version that must come.
        expected: u64,
        /// The version it says.
        found: u64,
    },
    /// The timestamp names a root that the store does not have.
    RootBehind {
        /// The version it names.
        needed: u64,
        /// The newest we could reach.
        newest: u64,
    },
    /// The newest root has expired.
    RootExpired {
        /// When.
        expires: UtcTime,
    },
    /// It is for another mesh, channel or service.
    WrongTarget {
        /// The object.
        object: String,
        /// Which of the three.
        what: &'static str,
        /// Ours.
        expected: String,
        /// The one it says.
        found: String,
    },
    /// It is older than what we have seen.
    Rollback {
        /// What is older: `timestamp`, `release` or `denylist`.
        what: &'static str,
        /// The number we have seen.
        seen: u64,
        /// The number it has.
        found: u64,
    },
    /// Two things were signed under one number.
    Equivocation {
        /// What: `timestamp`, `release` or `denylist`.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// The release is below the lowest that the root allows.
    BelowFloor {
        /// The lowest.
        floor: u64,
        /// Its number.
        found: u64,
    },
    /// It was issued in the future: a clock is wrong, theirs or ours.
    ClockSkew {
        /// When it says it was issued.
        issued: UtcTime,
        /// Our time.
        now: UtcTime,
    },
    /// The timestamp has expired.
    Expired {
        /// When.
        expires: UtcTime,
        /// Our time.
        now: UtcTime,
    },
    /// Bytes that are not the ones pinned or signed.
    WrongDigest {
        /// The object.
        object: String,
        /// The digest they must have.
        expected: Digest,
        /// The digest they have.
        found: Digest,
    },
    /// A statement of another type, or with another kind of tree.
    PredicateType {
        /// The object.
        object: String,
        /// The type it names.
        found: String,
    },
    /// A release with another number or epoch than its place says.
    WrongRelease {
        /// The object.
        object: String,
        /// `epoch` or `sequence`.
        what: &'static str,
        /// The number that must be there.
        expected: u64,
        /// The number it says.
        found: u64,
    },
    /// It needs a newer proxy.
    MinProxy {
        /// The lowest version it needs.
        needed: ProgramVersion,
        /// Ours.
        own: ProgramVersion,
    },
    /// The leaf is not proved to be in the signed tree.
    Proof {
        /// The object.
        object: String,
        /// What is wrong.
        message: &'static str,
    },
    /// A body in a format that we do not read.
    Schema {
        /// The version of the format.
        found: u32,
        /// The version we read.
        supported: u32,
    },
    /// What the channel points to was tried, and could not be applied; nothing else is offered.
    Rejected {
        /// The digest of the release's payload.
        release: Digest,
    },
    /// The channel calls `current` back and names nothing to go back to.
    NotEligible,
    /// There is no release in the state directory that still verifies.
    NoBundle {
        /// What was wrong with what there is; empty if there is nothing.
        message: String,
    },
    /// It verified, but could not be made to run. The caller's to report.
    Apply {
        /// What went wrong.
        message: String,
    },
}

impl UpdateError {
    /// The stable name of this kind of failure, for logs and metric labels. One of [`UpdateError::reasons`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store { .. } => "store",
            Self::Missing { .. } => "missing",
            Self::State { .. } => "state",
            Self::Oversized { .. } => "oversized",
            Self::Truncated { .. } => "truncated",
            Self::BadJson { .. } => "bad-json",
            Self::BadEnvelope { .. } => "bad-envelope",
            Self::TooManySignatures { .. } => "too-many-signatures",
            Self::PayloadType { .. } => "payload-type",
            Self::UnknownKey { .. } => "unknown-key",
            Self::Threshold { .. } => "threshold",
            Self::BadPayload { .. } => "bad-payload",
            Self::RootVersion { .. } => "root-version",
            Self::RootBehind { .. } => "root-behind",
            Self::RootExpired { .. } => "root-expired",
            Self::WrongTarget { .. } => "wrong-target",
            Self::Rollback { .. } => "rollback",
            Self::Equivocation { .. } => "equivocation",
            Self::BelowFloor { .. } => "below-floor",
            Self::ClockSkew { .. } => "clock-skew",
            Self::Expired { .. } => "expired",
            Self::WrongDigest { .. } => "digest",
            Self::PredicateType { .. } => "predicate-type",
            Self::WrongRelease { .. } => "wrong-release",
            Self::MinProxy { .. } => "min-proxy",
            Self::Proof { .. } => "proof",
            Self::Schema { .. } => "schema",
            Self::Rejected { .. } => "rejected",
            Self::NotEligible => "not-eligible",
            Self::NoBundle { .. } => "no-bundle",
            Self::Apply { .. } => "apply",
        }
    }

    /// Every reason there is, so that metrics can exist before the first failure.
    pub fn reasons() -> &'static [&'static str] {
        &[
            "store",
            "missing",
            "state",
            "oversized",
            "truncated",
            "bad-json",
            "bad-envelope",
            "too-many-signatures",
            "payload-type",
            "unknown-key",
            "threshold",
            "bad-payload",
            "root-version",
            "root-behind",
            "root-expired",
            "wrong-target",
            "rollback",
            "equivocation",
            "below-floor",
            "clock-skew",
            "expired",
            "digest",
            "predicate-type",
            "wrong-release",
            "min-proxy",
            "proof",
            "schema",
            "rejected",
            "not-eligible",
            "no-bundle",
            "apply",
        ]
    }

    /// Whether the same question may soon get another answer: back off and ask again, instead of waiting for something
    /// new.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Store { .. }
                | Self::Missing { .. }
                | Self::State { .. }
                | Self::Oversized { .. }
                | Self::Truncated { .. }
                | Self::BadJson { .. }
                | Self::BadEnvelope { .. }
        )
    }

    pub(super) fn json(object: impl fmt::Display, error: &JsonError) -> Self {
        let object = object.to_string();
        match error {
            JsonError::Truncated => Self::Truncated { object },
            JsonError::NotUtf8
            | JsonError::Syntax { .. }
            | JsonError::DuplicateKey { .. }
            | JsonError::TooDeep
            | JsonError::NotInteger
            | JsonError::Shape { .. } => Self::BadJson { object, message: error.to_string() },
        }
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store { object, message } => write!(f, "cannot read {object}: {message}"),
            Self::Missing { object } => write!(f, "there is no {object}"),
            Self::State { name, message } => write!(f, "state {name}: {message}"),
            Self::Oversized { object, cap } => write!(f, "{object} has more than {cap} bytes"),
            Self::Truncated { object } => write!(f, "{object} ends too early"),
            Self::BadJson { object, message } | Self::BadEnvelope { object, message } => {
                write!(f, "{object}: {message}")
            }
            Self::TooManySignatures { object } => write!(f, "{object} has more than 16 signatures"),
            Self::PayloadType { object, found } => {
                write!(f, "{object} holds a payload of type `{}`", found.escape_debug())
            }
            Self::UnknownKey { object, role, seen } => {
                write!(f, "{object} is not signed by any {role} key; its signatures name ")?;
                write_key_ids(f, seen)
            }
            Self::Threshold { object, role, needed, valid, seen } => {
                write!(
                    f,
                    "{object} is signed by {valid} of the {needed} {role} keys it needs; its signatures name "
                )?;
                write_key_ids(f, seen)
            }
            Self::BadPayload { object, message } => write!(f, "{object}: {message}"),
            Self::RootVersion { expected, found } => {
                write!(f, "root {expected} must come next, this one says it is {found}")
            }
            Self::RootBehind { needed, newest } => {
                write!(f, "root {needed} is asked for, the newest that can be reached is {newest}")
            }
            Self::RootExpired { expires } => write!(f, "the root of trust expired at {expires}"),
            Self::WrongTarget { object, what, expected, found } => {
                write!(f, "{object} is for {what} `{}`, we are `{expected}`", found.escape_debug())
            }
            Self::Rollback { what, seen, found } => {
                write!(f, "{what} {found} is older than {seen}, which was seen before")
            }
            Self::Equivocation { what, number } => {
                write!(f, "two different things are signed as {what} {number}")
            }
            Self::BelowFloor { floor, found } => {
                write!(f, "release {found} is below {floor}, the lowest that the root allows")
            }
            Self::ClockSkew { issued, now } => {
                write!(f, "issued at {issued}, which is more than 5 minutes after {now}")
            }
            Self::Expired { expires, now } => write!(f, "expired at {expires}, and it is {now}"),
            Self::WrongDigest { object, expected, found } => {
                write!(f, "{object} has the digest {found}, not {expected}")
            }
            Self::PredicateType { object, found } => {
                write!(f, "{object} is a statement of type `{}`", found.escape_debug())
            }
            Self::WrongRelease { object, what, expected, found } => {
                write!(f, "{object} has {what} {found}, not {expected}")
            }
            Self::MinProxy { needed, own } => write!(f, "needs a proxy of version {needed}, this is {own}"),
            Self::Proof { object, message } => write!(f, "{object}: {message}"),
            Self::Schema { found, supported } => {
                write!(f, "the body has format {found}, this program reads {supported}")
            }
            Self::Rejected { release } => {
                write!(f, "release {release} was tried and could not be applied; nothing else is offered")
            }
            Self::NotEligible => {
                f.write_str("the current release is called back, and there is none before it")
            }
            Self::NoBundle { message } if message.is_empty() => f.write_str("no release is installed"),
            Self::NoBundle { message } => write!(f, "no installed release still verifies: {message}"),
            Self::Apply { message } => f.write_str(message),
        }
    }
}

impl std::error::Error for UpdateError {}

/// The ids come from outside: cut, and with nothing that could disturb a log.
fn write_key_ids(f: &mut fmt::Formatter<'_>, seen: &[String]) -> fmt::Result {
    if seen.is_empty() {
        return f.write_str("no key");
    }
    for (i, id) in seen.iter().enumerate() {
        let cut: String = id.chars().take(64).collect();
        write!(f, "{}`{}`", if i > 0 { ", " } else { "" }, cut.escape_debug())?;
    }
    Ok(())
}
