//! Ids are types: a job key can't be passed where a blob digest is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// An id in text form that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?} ({expected})")]
pub struct BadId {
    /// Which id was expected.
    pub kind: &'static str,
    /// What stood there.
    pub text: String,
    /// The form that it should have.
    pub expected: &'static str,
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The BLAKE3 of these bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            /// Wraps a hash that was computed elsewhere (a streamed one).
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first 12 digits, for people.
            pub fn short(&self) -> String {
                self.to_string()[..12].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let bad = || BadId {
                    kind: $kind,
                    text: text.to_owned(),
                    expected: "64 lower-case hexadecimal digits",
                };
                let digits = text.as_bytes();
                if digits.len() != 64 {
                    return Err(bad());
                }
                let nibble = |d: u8| match d {
                    b'0'..=b'9' => Ok(d - b'0'),
                    b'a'..=b'f' => Ok(d - b'a' + 10),
                    _ => Err(bad()),
                };
                let mut bytes = [0; 32];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
                }
                Ok(Self(bytes))
            }
        }

        text_serde!($name);
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one (UUIDv7: sorts by the time it was made).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().map(Self).map_err(|_| BadId {
                    kind: $kind,
                    text: text.to_owned(),
                    expected: "a UUID",
                })
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

hash_id!(
    /// What a job *is*: BLAKE3 of the canonical JSON of its spec.
    JobKey,
    "job key"
);
hash_id!(
    /// What a blob *is*: BLAKE3 of its bytes.
    BlobDigest,
    "blob digest"
);
uuid_id!(
    /// One submitted sweep.
    SweepId,
    "sweep id"
);
uuid_id!(
    /// One worker process.
    WorkerId,
    "worker id"
);
uuid_id!(
    /// One attempt at one job; whoever can name it holds the lease.
    LeaseToken,
    "lease token"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let key = JobKey::of(b"x");
        assert_eq!(key.to_string().parse(), Ok(key));
        let token = LeaseToken::new();
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn a_bad_id_is_named() {
        let upper = JobKey::of(b"x").to_string().to_uppercase();
        for text in ["", "zz", upper.as_str()] {
            let error = text.parse::<JobKey>().expect_err("must be refused");
            assert!(error.to_string().contains("not a job key"), "{error}");
        }
    }
}
