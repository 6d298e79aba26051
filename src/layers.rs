//! Tests the order of the folders: each one imports only from those below it, and PostgreSQL's
//! unsafe API stays in four of them.

use std::fs;
use std::path::{Path, PathBuf};

/// From the lowest to the highest. A file outside of the folders is a layer of its own.
const LAYERS: [&str; 10] = [
    "oauth", "error", "pg", "settings", "table", "codes", "commit", "worker", "api", "lib",
];
const UNSAFE: [&str; 4] = ["pg", "table", "commit", "worker"];
/// The largest number of files that may contain `unsafe`.
const UNSAFE_FILES: usize = 21;

struct Source {
    path: PathBuf,
    layer: String,
    /// The text without comments.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !["layers.rs", "script.rs"]
                .iter()
                .any(|test| path.ends_with(test))
            {
                let inside = path.strip_prefix(&root).unwrap();
                let layer = inside.iter().next().unwrap().to_str().unwrap();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.lines().map(|line| line.split("//").next().unwrap());
                sources.push(Source {
                    layer: layer.trim_end_matches(".rs").to_owned(),
                    code: code.collect::<Vec<_>>().join("\n"),
                    path,
                });
            }
        }
    }
    sources
}

fn height(layer: &str) -> usize {
    let place = LAYERS.iter().position(|known| *known == layer);
    place.unwrap_or_else(|| panic!("{layer} is not among the layers"))
}

/// The layers that code names after `crate::`, alone or in braces.
fn imports(code: &str) -> Vec<String> {
    let first_word = |text: &str| {
        let word = text
            .trim_start()
            .split(|c: char| !c.is_alphanumeric() && c != '_');
        word.into_iter().next().unwrap_or_default().to_owned()
    };
    let paths = code.split("crate::").skip(1);
    paths
        .flat_map(|path| match path.strip_prefix('{') {
            Some(group) => {
                let group = group.split('}').next().unwrap_or_default();
                group.split(',').map(first_word).collect()
            }
            None => vec![first_word(path)],
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn holds_unsafe(source: &Source) -> bool {
    let mut words = source
        .code
        .split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| word == "unsafe")
}

#[test]
fn a_folder_imports_only_what_lies_below_it() {
    for source in sources() {
        for import in imports(&source.code) {
            assert!(
                height(&import) <= height(&source.layer),
                "{} imports {import}, which lies above it",
                source.path.display()
            );
        }
    }
}

#[test]
fn unsafe_stays_in_four_folders() {
    let sources = sources();
    let holders: Vec<_> = sources
        .iter()
        .filter(|source| holds_unsafe(source))
        .collect();
    for source in &holders {
        assert!(
            UNSAFE.contains(&source.layer.as_str()),
            "{} holds unsafe",
            source.path.display()
        );
    }
    assert!(
        holders.len() <= UNSAFE_FILES,
        "{} files hold unsafe",
        holders.len()
    );
}

#[test]
fn oauth_knows_nothing_of_postgresql() {
    let pure = sources()
        .into_iter()
        .filter(|source| source.layer == "oauth");
    let mut files = 0;
    for source in pure {
        assert!(!source.code.contains("pgrx"), "{}", source.path.display());
        files += 1;
    }
    assert!(files > 1);
}
