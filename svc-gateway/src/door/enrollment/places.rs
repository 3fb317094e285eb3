//! First contacts that are under way: so many in all, and so many from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// First contacts that are with svc-enroll at once; each is a probe of up to 3 s and a signature.
const AT_ONCE: usize = 256;

/// Of these from one address: a boot storm behind one address gets on, and five such leave room for others.
const AT_ONCE_PER_ADDRESS: usize = 48;

/// Counts them; its size is bounded by [`AT_ONCE`].
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    by_address: HashMap<IpAddr, usize>,
    total: usize,
}

/// One that is under way, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    address: IpAddr,
}

/// Whose places are all taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    Address,
    Gateway,
}

impl Places {
    pub(super) fn take(&self, address: IpAddr) -> Result<Place, Full> {
        let mut taken = lock(&self.taken);
        if taken.total >= AT_ONCE {
            return Err(Full::Gateway);
        }
        let of_address = taken.by_address.entry(address).or_default();
        if *of_address >= AT_ONCE_PER_ADDRESS {
            return Err(Full::Address);
        }
        *of_address += 1;
        taken.total += 1;
        Ok(Place { taken: Arc::clone(&self.taken), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total = taken.total.saturating_sub(1);
        if let Some(of_address) = taken.by_address.get_mut(&self.address) {
            *of_address = of_address.saturating_sub(1);
            if *of_address == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_leaves_places_to_the_others() {
        let places = Places::default();
        let storm: Vec<Place> =
            (0..AT_ONCE_PER_ADDRESS).map(|_| places.take(address(1)).unwrap()).collect();
        assert_eq!(places.take(address(1)).err(), Some(Full::Address));
        assert!(places.take(address(2)).is_ok());
        drop(storm);
        assert!(places.take(address(1)).is_ok());
        let taken = lock(&places.taken);
        assert_eq!((taken.total, taken.by_address.len()), (0, 0), "nothing is left behind");
    }

    #[test]
    fn all_of_them_together_are_bounded() {
        let places = Places::default();
        let all: Vec<Place> = (0..=u8::MAX).filter_map(|a| places.take(address(a)).ok()).collect();
        assert_eq!(all.len(), AT_ONCE);
        assert_eq!(places.take(IpAddr::from([10, 1, 0, 0])).err(), Some(Full::Gateway));
    }
}
