//! The place of a dimension that has no provider yet: it finds nothing and says so when asked to act.

use std::collections::BTreeSet;

use pact_schemas::resource::{Dimension, KeyPatterns, Kind, ResourceKey, Value};

use super::{Contents, Found, Holders, Poll, Provider, ProviderError};

/// Answers [`ProviderError::Unimplemented`] for one dimension.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unbuilt {
    dimension: Dimension,
}

impl Unbuilt {
    /// The place of this dimension.
    pub(crate) const fn new(dimension: Dimension) -> Self {
        Self { dimension }
    }

    const fn refusal(self) -> ProviderError {
        ProviderError::Unimplemented { dimension: self.dimension }
    }
}

impl Provider for Unbuilt {
    fn kinds(&self) -> &'static [Kind] {
        match self.dimension {
            Dimension::Kernel => &[Kind::Sysctl, Kind::Module],
            Dimension::Mounts => &[Kind::Mount],
            Dimension::Files => &[Kind::File],
            Dimension::Network => &[Kind::Net],
            Dimension::Services => &[Kind::Service],
            Dimension::Packages => &[Kind::Package],
            Dimension::Gpu => &[Kind::Gpu],
        }
    }

    fn scan(&mut self, _found: &mut dyn FnMut(Found)) -> Result<(), ProviderError> {
        Ok(())
    }

    fn read(&mut self, _key: &ResourceKey) -> Result<Value, ProviderError> {
        Err(self.refusal())
    }

    fn baseline(&mut self, _key: &ResourceKey) -> Result<Option<Value>, ProviderError> {
        // Nothing is under watch.
        Ok(None)
    }

    fn rebase(&mut self, _key: &ResourceKey, _value: &Value) -> Result<(), ProviderError> {
        Err(self.refusal())
    }

    fn apply(
        &mut self,
        _key: &ResourceKey,
        _observed: &Value,
        _want: &Value,
        _contents: &dyn Contents,
    ) -> Result<(), ProviderError> {
        Err(self.refusal())
    }

    fn holders(&mut self, keys: &BTreeSet<ResourceKey>) -> Holders {
        keys.iter().map(|key| (key.clone(), Err(self.refusal()))).collect()
    }

    fn contents(
        &mut self,
        _key: &ResourceKey,
        _sha256: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ProviderError> {
        Ok(None)
    }

    fn declare(&mut self, _keys: &BTreeSet<ResourceKey>) -> Result<(), ProviderError> {
        Ok(())
    }

    fn ignore(&mut self, _patterns: &KeyPatterns) {}

    fn poll(&mut self) -> Result<Poll, ProviderError> {
        Ok(Poll::Changed(Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_nothing_and_does_nothing() {
        let mut unbuilt = Unbuilt::new(Dimension::Services);
        let key = ResourceKey::new(Kind::Service, "chronyd").unwrap();
        unbuilt.scan(&mut |found| panic!("{found:?}")).unwrap();
        assert_eq!(unbuilt.baseline(&key).unwrap(), None);
        assert!(matches!(
            unbuilt.read(&key),
            Err(ProviderError::Unimplemented { dimension: Dimension::Services })
        ));
        let nothing = super::super::NoContents;
        let refused = unbuilt.apply(&key, &Value::Absent, &Value::Absent, &nothing).unwrap_err();
        assert_eq!(refused.to_wire().code, "PACT_UNIMPLEMENTED");
        assert_eq!(unbuilt.poll().unwrap(), Poll::Changed(Vec::new()));
    }
}
