//! Compares the functions of this version's install script with the SQL that pgrx would write for
//! api/. pgrx stores its data on each function in a section of every binary, including the one
//! that runs this test.

use object::{Object, ObjectSection};
use pgrx_sql_entity_graph::section::{decode_entities, is_schema_section_name};
use pgrx_sql_entity_graph::{ControlFile, PgrxSql, SqlGraphEntity};

const SCRIPT: &str = include_str!(concat!(
    "../sql/attesto_codes--",
    env!("CARGO_PKG_VERSION"),
    ".sql"
));
const CONTROL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/attesto_codes.control");

/// The functions that pgrx has no SQL for, because they return our own ResultRow.
const BY_HAND: [&str; 5] = [
    "code_get",
    "code_inspect",
    "code_redeem",
    "code_stats",
    "code_take",
];

fn as_pgrx_writes_it() -> String {
    let binary = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let binary = object::File::parse(&*binary).unwrap();
    let section = binary
        .sections()
        .find(|section| section.name().is_ok_and(is_schema_section_name))
        .expect("the linker kept pgrx's section");
    let control =
        ControlFile::from_path_with_cargo_version(CONTROL, env!("CARGO_PKG_VERSION")).unwrap();
    let functions = decode_entities(section.data().unwrap()).unwrap();
    let entities = std::iter::once(SqlGraphEntity::ExtensionRoot(control)).chain(functions);
    PgrxSql::build(entities, "attesto_codes".into(), false)
        .unwrap()
        .to_sql()
        .unwrap()
}

/// The CREATE FUNCTION statements of a script in a uniform spelling, sorted by name.
fn functions(script: &str) -> Vec<String> {
    let mut functions: Vec<_> = without_comments(script)
        .split(';')
        .map(one_spelling)
        .filter(|statement| statement.starts_with("create function"))
        .collect();
    functions.sort();
    functions
}

fn without_comments(script: &str) -> String {
    let mut rest: String = script
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default().to_owned() + "\n")
        .collect();
    while let Some(from) = rest.find("/*") {
        let to = from + rest[from..].find("*/").unwrap() + 2;
        rest.replace_range(from..to, " ");
    }
    rest
}

fn one_spelling(statement: &str) -> String {
    let mut spaced = statement.to_lowercase().replace("@extschema@.", "");
    spaced = spaced.replace('"', "");
    for sign in ["(", ")", ","] {
        spaced = spaced.replace(sign, &format!(" {sign} "));
    }
    let words = spaced.split_whitespace().map(|word| match word {
        "bool" => "boolean",
        "int" => "integer",
        word => word,
    });
    // pgrx does not write ROWS.
    words.collect::<Vec<_>>().join(" ").replace(" rows 1 ", " ")
}

#[test]
fn the_install_script_has_the_functions_of_the_code() {
    let is_by_hand = |function: &String| {
        BY_HAND
            .iter()
            .any(|name| function.starts_with(&format!("create function {name} (")))
    };
    let (by_hand, others): (Vec<_>, Vec<_>) = functions(SCRIPT).into_iter().partition(is_by_hand);
    assert_eq!(by_hand.len(), BY_HAND.len());
    assert_eq!(others, functions(&as_pgrx_writes_it()));
    assert!(!others.is_empty());
}
