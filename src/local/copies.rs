//! Files with the same content: a copy of an object under another name would count its rows twice.

use std::{collections::BTreeMap, fs, io, ops::ControlFlow, path::Path};

use sha2::{Digest as _, Sha256};

use super::files::{is_standard_input, stream};

/// Which of these files have the content of an earlier one, each with that one. Only files of equal size are
/// read for it. Standard input, pipes and devices can be read but once and are compared with nothing; an
/// empty file counts nothing, and one that cannot be read is left to whoever reads it.
pub fn copies<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeMap<&'a Path, &'a Path> {
    let mut by_size: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for path in files.filter(|path| !is_standard_input(path)) {
        if let Ok(metadata) = fs::metadata(path)
            && metadata.is_file()
            && 0 < metadata.len()
        {
            by_size.entry(metadata.len()).or_default().push(path);
        }
    }
    let mut copies = BTreeMap::new();
    for paths in by_size.into_values().filter(|paths| 1 < paths.len()) {
        let mut seen = BTreeMap::new();
        for path in paths {
            let Ok(hash) = hash(path) else { continue };
            match seen.get(&hash) {
                Some(first) => {
                    copies.insert(path, *first);
                }
                None => {
                    seen.insert(hash, path);
                }
            }
        }
    }
    copies
}

fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    stream(path, &mut |bytes| {
        hash.update(bytes);
        ControlFlow::Continue(())
    })?;
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn only_the_same_bytes_are_a_copy_and_the_first_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, content) in [
            ("a", "one"),
            ("b", "two"),
            ("c", "one"),
            ("d", "one"),
            ("e", "ones"),
            ("f", ""),
            ("g", ""),
        ] {
            fs::write(at(name), content).unwrap();
        }
        let mut files: Vec<PathBuf> = ["a", "b", "c", "d", "e", "f", "g", "missing"].map(at).into();
        files.extend(["-".into(), "-".into(), "/dev/null".into(), "/dev/null".into()]);
        let found = copies(files.iter().map(PathBuf::as_path));
        let expected = [(at("c"), at("a")), (at("d"), at("a"))];
        let found: Vec<(PathBuf, PathBuf)> =
            found.into_iter().map(|(copy, of)| (copy.to_owned(), of.to_owned())).collect();
        assert_eq!(found, expected);
    }
}
