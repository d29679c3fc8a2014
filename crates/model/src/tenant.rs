//! Tenants: the unit of isolation, named by a validated newtype, because the name becomes part of
//! object keys; and sets of them, which questions may be about.

use std::fmt;
use std::sync::Arc;

/// Longest tenant name in bytes.
pub const TENANT_BYTES_MAX: usize = 150;

/// A checked tenant name.
///
/// 1 to 150 bytes of `A-Z a-z 0-9 ! - _ . * ' ( )`, neither `.` nor `..`, and not starting with
/// `__`, which is reserved. Source: grafana/dskit `tenant/tenant.go`, plus the reservation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Why a tenant name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTenant {
    /// The empty name.
    #[error("tenant ID is empty")]
    Empty,
    /// The name has more than 150 bytes; how many.
    #[error("tenant ID is too long: {0} bytes, at most 150")]
    TooLong(usize),
    /// A character outside the alphabet of [`TenantId`].
    #[error("tenant ID '{name}' contains unsupported character '{character}'")]
    Character {
        /// The refused name, cut after 150 characters.
        name: String,
        /// The first character outside the alphabet.
        character: char,
    },
    /// `.`, `..` or a name that starts with `__`.
    #[error("tenant ID '{0}' is reserved")]
    Reserved(String),
}

impl TenantId {
    /// The tenant of everything where tenancy is off.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidTenant`] says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, InvalidTenant> {
        if name.is_empty() {
            return Err(InvalidTenant::Empty);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
        if let Some(character) = name.chars().find(|c| !allowed(*c)) {
            let name = name.chars().take(TENANT_BYTES_MAX).collect();
            return Err(InvalidTenant::Character { name, character });
        }
        if name.len() > TENANT_BYTES_MAX {
            return Err(InvalidTenant::TooLong(name.len()));
        }
        if name == "." || name == ".." || name.starts_with("__") {
            return Err(InvalidTenant::Reserved(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The tenant that owns everything while tenancy is off.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Self::ANONYMOUS.into())
    }

    /// The checked name, fit to be a part of an object's key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Between the names of several tenants. No name has it.
pub const TENANT_SEPARATOR: char = '|';

/// One tenant or several: never none; sorted, without duplicates.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tenants(Arc<[TenantId]>);

impl Tenants {
    /// The set of these; `None` if there are none.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = TenantId>) -> Option<Self> {
        let mut sorted: Vec<TenantId> = tenants.into_iter().collect();
        sorted.sort();
        sorted.dedup();
        (!sorted.is_empty()).then(|| Self(sorted.into()))
    }

    /// Reads names with [`TENANT_SEPARATOR`] between them, as Mimir's header has them: `a|b`.
    ///
    /// # Errors
    /// [`InvalidTenant`] of the first name that is none.
    pub fn parse(names: &str) -> Result<Self, InvalidTenant> {
        let tenants = names.split(TENANT_SEPARATOR).map(TenantId::new).collect::<Result<Vec<_>, _>>()?;
        Self::new(tenants).ok_or(InvalidTenant::Empty)
    }

    /// The tenants, strictly ascending; at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[TenantId] {
        &self.0
    }

    /// The only tenant; `None` if there are several.
    #[must_use]
    pub fn only(&self) -> Option<&TenantId> {
        match &*self.0 {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl From<TenantId> for Tenants {
    fn from(tenant: TenantId) -> Self {
        Self(Arc::from([tenant]))
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, tenant) in self.0.iter().enumerate() {
            let separator = if idx > 0 { "|" } else { "" };
            write!(f, "{separator}{tenant}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_tenants_is_sorted_without_duplicates_and_never_empty() {
        for (names, shown) in [("a", "a"), ("b|a", "a|b"), ("a|b|a", "a|b"), ("x|x", "x")] {
            assert_eq!(Tenants::parse(names).unwrap().to_string(), shown, "{names}");
        }
        assert_eq!(Tenants::parse("x|x").unwrap().only(), Some(&TenantId::new("x").unwrap()));
        assert_eq!(Tenants::parse("x|y").unwrap().only(), None);
        assert_eq!(Tenants::new([]), None);
        for (names, error) in [
            ("", InvalidTenant::Empty),
            ("a|", InvalidTenant::Empty),
            ("|a", InvalidTenant::Empty),
            ("a|__b", InvalidTenant::Reserved("__b".into())),
        ] {
            assert_eq!(Tenants::parse(names), Err(error), "{names}");
        }
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "a\\b", "a b", "ü", "__x", "a%2e", "a|b", "a\0", &"x".repeat(151)]
        {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "anonymous", "Team-1_x.y*'()!", "...", &"x".repeat(150)] {
            assert!(TenantId::new(good).is_ok(), "{good:?}");
        }
    }
}
