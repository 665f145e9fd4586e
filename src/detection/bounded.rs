//! Lists in bytes that strangers may have written: read only as far as they can be true.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

/// Reads a list of at most `MOST` elements. Of more none is read, and no memory is taken for them.
///
/// # Errors
/// When there are more, or they cannot be read.
pub(super) fn at_most<'de, const MOST: usize, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    list(deserializer, MOST, |_| 0, 0)
}

/// Reads a list of at most `most` elements that hold no more than `room` together.
///
/// # Errors
/// When there are more, or they hold more, or they cannot be read.
pub(super) fn list<'de, T, D>(
    deserializer: D,
    most: usize,
    size: fn(&T) -> usize,
    room: usize,
) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(List { most, size, room, of: PhantomData })
}

struct List<T> {
    most: usize,
    /// How much an element holds of which there is so much room.
    size: fn(&T) -> usize,
    room: usize,
    of: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {} elements", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let told = elements.size_hint().unwrap_or(0);
        if self.most < told {
            return Err(A::Error::invalid_length(told, &self));
        }
        let mut list = Vec::with_capacity(told);
        let mut room = self.room;
        while let Some(element) = elements.next_element()? {
            // The length may not have been told beforehand.
            let left = room.checked_sub((self.size)(&element));
            room = match left {
                Some(left) if list.len() < self.most => left,
                _ => return Err(A::Error::invalid_length(list.len() + 1, &self)),
            };
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, SeqDeserializer};

    use super::*;

    #[test]
    fn a_list_is_as_long_and_holds_as_much_as_it_may() {
        let numbers = |list: &[u64]| at_most::<3, u64, _>(told(list));
        assert_eq!(numbers(&[1, 2, 3]).unwrap(), [1, 2, 3]);
        assert!(numbers(&[1, 2, 3, 4]).is_err());
        let held = |numbers: &[u64]| list(told(numbers), 3, |it: &u64| *it as usize, 9);
        assert_eq!(held(&[2, 3, 4]).unwrap(), [2, 3, 4]);
        assert!(held(&[2, 3, 5]).is_err());
        assert!(held(&[1, 1, 1, 1]).is_err());
    }

    #[test]
    fn a_list_that_does_not_tell_its_length_is_no_longer() {
        let untold = |most: u64| {
            let numbers = (0..).take_while(move |it| *it < most);
            at_most::<3, u64, _>(SeqDeserializer::<_, Error>::new(numbers))
        };
        assert_eq!(untold(3).unwrap(), [0, 1, 2]);
        assert!(untold(u64::MAX).is_err());
    }

    fn told(numbers: &[u64]) -> SeqDeserializer<impl Iterator<Item = u64> + use<'_>, Error> {
        SeqDeserializer::new(numbers.iter().copied())
    }
}
