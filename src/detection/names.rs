//! Names that occur again and again (targets, paths, nodes), each kept once.

use std::{collections::HashMap, sync::Arc};

use foldhash::quality::RandomState;

/// A kept name: an index into its [`Names`].
pub(super) type NameId = u32;

/// The name of everything beyond the bound.
pub(super) const OTHERS: NameId = 0;

/// A name longer than this is cut: no path needs more to be recognised.
const MAX_NAME_BYTES: usize = 160;

/// A bounded set of names. What comes after the bound is counted as `others`, so that strangers who
/// ask for a new path with every request cannot fill the memory.
#[derive(Debug)]
pub(super) struct Names {
    /// Strangers choose the names: the hash is seeded anew in every process.
    ids: HashMap<Box<[u8]>, NameId, RandomState>,
    list: Vec<Arc<str>>,
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
            ids: HashMap::default(),
            list: vec![Arc::from("others")],
            limit,
            max_bytes,
            overflowed: false,
        }
    }

    /// The id of a name; allocates only when the name is new.
    pub(super) fn id(&mut self, name: &[u8]) -> NameId {
        let name = name.get(..self.max_bytes).unwrap_or(name);
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        if self.limit <= self.list.len() {
            self.overflowed = true;
            return OTHERS;
        }
        let Ok(id) = NameId::try_from(self.list.len()) else {
            return OTHERS;
        };
        self.ids.insert(name.into(), id);
        self.list.push(Arc::from(String::from_utf8_lossy(name)));
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

/// The name that was looked up last, so that a field which says the same row after row is compared and
/// not looked up.
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
