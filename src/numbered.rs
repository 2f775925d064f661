//! Values by a number that each of them bears: a table of pointers and nothing beside them, for what a server keeps of each of
//! very many clients (docs/performance.md).

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// What can stand in a [`NumberedTable`].
pub trait Numbered {
    /// What kind of number that is.
    type Number: Copy + Eq + Hash;

    /// Its number; it stays as it is.
    fn number(&self) -> Self::Number;
}

impl<T: Numbered> Numbered for Box<T> {
    type Number = T::Number;

    fn number(&self) -> T::Number {
        (**self).number()
    }
}

impl<T: Numbered> Numbered for Arc<T> {
    type Number = T::Number;

    fn number(&self) -> T::Number {
        (**self).number()
    }
}

/// A table of values, one for each number. Numbers are the servers' to choose, so no client can make them collide.
#[derive(Debug)]
pub struct NumberedTable<T>(HashTable<T>);

impl<T> Default for NumberedTable<T> {
    fn default() -> Self {
        Self(HashTable::new())
    }
}

fn hash(number: impl Hash) -> u64 {
    FixedState::default().hash_one(number)
}

impl<T: Numbered> NumberedTable<T> {
    /// The value with this number.
    #[must_use]
    pub fn get(&self, number: T::Number) -> Option<&T> {
        self.0.find(hash(number), |value| value.number() == number)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, number: T::Number) -> Option<&mut T> {
        self.0.find_mut(hash(number), |value| value.number() == number)
    }

    /// Whether there is one.
    #[must_use]
    pub fn contains(&self, number: T::Number) -> bool {
        self.get(number).is_some()
    }

    /// Puts a value in; it takes the place of one with its number.
    pub fn insert(&mut self, value: T) {
        let number = value.number();
        match self.0.entry(hash(number), |value| value.number() == number, |value| hash(value.number())) {
            Entry::Occupied(mut there) => *there.get_mut() = value,
            Entry::Vacant(place) => drop(place.insert(value)),
        }
    }

    /// The value with this number, made if there is none.
    pub fn get_or_insert_with(&mut self, number: T::Number, make: impl FnOnce() -> T) -> &mut T {
        match self.0.entry(hash(number), |value| value.number() == number, |value| hash(value.number())) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => place.insert(make()).into_mut(),
        }
    }

    /// Takes the value with this number out.
    pub fn remove(&mut self, number: T::Number) -> Option<T> {
        let there = self.0.find_entry(hash(number), |value| value.number() == number).ok()?;
        Some(there.remove().0)
    }

    /// All values, in no order, which is the same whenever the same was done.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter()
    }

    /// All values, taken out.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Numbered for (u64, char) {
        type Number = u64;

        fn number(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn one_value_for_each_number() {
        let mut table = NumberedTable::default();
        for number in 0..1000 {
            table.insert(Box::new((number, 'a')));
        }
        table.insert(Box::new((7, 'b')));
        assert_eq!((table.len(), table.get(7).map(|value| value.1)), (1000, Some('b')));
        assert_eq!(table.remove(7).map(|value| value.1), Some('b'));
        assert!(table.remove(7).is_none() && !table.contains(7) && table.contains(8));
        if let Some(value) = table.get_mut(8) {
            value.1 = 'c';
        }
        let mut rest: Vec<_> = table.iter().map(|value| value.0).collect();
        rest.sort_unstable();
        assert_eq!((rest.len(), rest[7], table.get(8).map(|value| value.1)), (999, 8, Some('c')));
        assert_eq!((table.take_all().count(), table.is_empty()), (999, true));
    }
}
