//! OAuth 2.0 authorization codes in PostgreSQL, single use by construction.

mod api;
mod care;
mod counters;
mod due;
mod error;
mod extension;
mod failure;
mod families;
mod fate;
mod grant;
mod independent;
mod jsonb;
mod list;
mod memory;
mod numeric_date;
mod reply;
mod reuse;
mod rollback;
mod rows;
mod run;
mod savepoint;
mod secret;
mod settings;
mod stats;
mod store;
mod sweep;
mod table;
mod take;
mod undo;

::pgrx::pg_module_magic!(name, version);

#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::init();
    // What it registers for the end of a transaction comes last.
    independent::init();
    undo::init();
    rollback::init();
    counters::init();
}

#[cfg(test)]
mod script;

#[cfg(test)]
mod tests {
    #[test]
    fn the_changelog_begins_with_this_version() {
        // The date stands behind it, or that it is not released.
        let heading = concat!("# Changelog\n\n## ", env!("CARGO_PKG_VERSION"), " (");
        assert!(include_str!("../CHANGELOG.md").starts_with(heading));
    }

    #[test]
    fn what_installs_it_names_this_version() {
        let control = concat!("\ndefault_version = '", env!("CARGO_PKG_VERSION"), "'\n");
        assert!(include_str!("../attesto_codes.control").contains(control));
        let version = concat!("\"version\": \"", env!("CARGO_PKG_VERSION"), "\"");
        let script = concat!("sql/attesto_codes--", env!("CARGO_PKG_VERSION"), ".sql");
        let meta = include_str!("../META.json");
        assert_eq!(meta.matches(version).count(), 2);
        assert_eq!(meta.matches(script).count(), 1);
    }
}
