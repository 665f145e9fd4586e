//! Names that occur again and again (targets, paths, nodes), each kept once.

use std::{borrow::Cow, hash::BuildHasher as _, sync::Arc};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

/// A kept name: an index into its [`Names`].
pub(super) type NameId = u32;

/// The name of everything beyond the bound.
pub(super) const OTHERS: NameId = 0;

/// A name longer than this is cut: no path needs more to be recognised.
pub(super) const MAX_NAME_BYTES: usize = 160;

/// Names that are found again without the hash of all their bytes: more than the targets and paths that
/// most rows name, in a kilobyte.
const RECENT_NAMES: usize = 256;

/// A bounded set of names. What comes after the bound is counted as `others`, so that strangers who
/// ask for a new path with every request cannot fill the memory.
#[derive(Debug)]
pub(super) struct Names {
    /// Where in the list a name stands.
    ids: HashTable<NameId>,
    /// Strangers choose the names: the hash is seeded anew in every process.
    hasher: RandomState,
    list: Vec<Arc<str>>,
    /// Names that were looked up lately, each where its first and last bytes say.
    recent: Box<[NameId; RECENT_NAMES]>,
    limit: usize,
    max_bytes: usize,
    overflowed: bool,
}

impl Names {
    pub(super) fn new(limit: usize) -> Self {
        Self::with_longest(limit, MAX_NAME_BYTES)
    }

    /// Names of up to `max_bytes`; what is longer is cut.
    pub(super) fn with_longest(limit: usize, max_bytes: usize) -> Self {
        Self {
            ids: HashTable::new(),
            hasher: RandomState::default(),
            list: vec![Arc::from("others")],
            recent: Box::new([OTHERS; RECENT_NAMES]),
            limit,
            max_bytes,
            overflowed: false,
        }
    }

    /// The id of a name; allocates only when the name is new.
    #[inline]
    pub(super) fn id(&mut self, name: &[u8]) -> NameId {
        let name = name.get(..self.max_bytes).unwrap_or(name);
        let place = recent_place(name);
        if let Some(&id) = self.recent.get(place)
            && id != OTHERS
            && self.list.get(id as usize).is_some_and(|kept| kept.as_bytes() == name)
        {
            return id;
        }
        let id = self.looked_up(name);
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = id;
        }
        id
    }

    fn looked_up(&mut self, name: &[u8]) -> NameId {
        // Nearly every name is text, which is known faster than what of it is.
        let name = match std::str::from_utf8(name) {
            Ok(name) => Cow::Borrowed(name),
            Err(_) => String::from_utf8_lossy(name),
        };
        let hash = self.hasher.hash_one(name.as_bytes());
        let list = &self.list;
        let kept = |id: NameId| list.get(id as usize).map(|kept| kept.as_bytes());
        if let Some(id) = self.ids.find(hash, |id| kept(*id) == Some(name.as_bytes())) {
            return *id;
        }
        let Ok(id) = NameId::try_from(list.len()) else { return OTHERS };
        if self.limit <= list.len() {
            self.overflowed = true;
            return OTHERS;
        }
        let hasher = &self.hasher;
        self.ids.insert_unique(hash, id, |id| hasher.hash_one(kept(*id).unwrap_or_default()));
        self.list.push(Arc::from(name));
        id
    }

    pub(super) fn get(&self, id: NameId) -> Arc<str> {
        self.list.get(id as usize).or(self.list.first()).cloned().unwrap_or_else(|| Arc::from(""))
    }

    /// Some names were left out before these came here.
    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
    }

    /// True when a name was left out: then a name that is here may have been there unseen before.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }
}

/// Where a name stands among the recent ones. Whoever chooses two names for one place makes them be looked
/// up with all their bytes, as they would be without.
#[inline]
fn recent_place(name: &[u8]) -> usize {
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (name.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), 0),
    };
    // An odd number with bits all over (of the golden ratio): what differs low differs high as well.
    let mixed = (first ^ last.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 32).unwrap_or(0) % RECENT_NAMES
}

/// The name that was looked up last, so that a field which says the same row after row is compared and
/// not looked up: for four fields 120 instructions a row less than to find them among the recent names.
#[derive(Debug, Default)]
pub(super) struct LastName {
    name: Vec<u8>,
    id: Option<NameId>,
}

impl LastName {
    /// The id of a name, as [`Names::id`].
    pub(super) fn id(&mut self, names: &mut Names, name: &[u8]) -> NameId {
        if let Some(id) = self.id
            && self.name == name
        {
            return id;
        }
        let id = names.id(name);
        // What is longer is no name that comes again.
        self.id = (name.len() <= MAX_NAME_BYTES).then_some(id);
        self.name.clear();
        self.name.extend_from_slice(name.get(..MAX_NAME_BYTES).unwrap_or(name));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_id_until_there_are_too_many() {
        let mut names = Names::new(6);
        let mut id = |name: &str| names.id(name.as_bytes());
        let long = "x".repeat(MAX_NAME_BYTES);
        let all = ["others", "", "/a", "/b", &long].map(&mut id);
        assert_eq!(all, [1, 2, 3, 4, 5]);
        assert_eq!(["others", "", "/a", "/b", &format!("{long}y")].map(&mut id), all);
        assert_eq!([id("/c"), id("/a"), id("/c"), id("others")], [OTHERS, 3, OTHERS, 1]);
        assert!(names.overflowed());
        assert_eq!(
            [&*names.get(3), &*names.get(OTHERS), &*names.get(99)],
            ["/a", "others", "others"]
        );
    }

    #[test]
    fn names_of_one_place_among_the_recent_ones_stay_apart() {
        let mut names = Names::new(10_000);
        let ids = |names: &mut Names| -> Vec<NameId> {
            (0..3_000).map(|i| names.id(format!("/path/{i}/to").as_bytes())).collect()
        };
        let first = ids(&mut names);
        assert_eq!(first, (1..=3_000).collect::<Vec<_>>());
        assert_eq!(ids(&mut names), first);
    }

    #[test]
    fn what_is_no_utf8_is_kept_as_it_is_shown() {
        let mut names = Names::new(10);
        assert_eq!(
            [names.id(b"/\xff"), names.id(b"/\xfe"), names.id("/\u{fffd}".as_bytes())],
            [1; 3]
        );
        assert_eq!(&*names.get(1), "/\u{fffd}");
    }
}
