//! OAuth 2.0 authorization codes in PostgreSQL, single use by construction.

mod api;
mod codes;
mod commit;
mod error;
mod oauth;
mod pg;
mod settings;
mod table;
mod worker;

::pgrx::pg_module_magic!(name, version);

#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::init();
    pg::init();
    worker::init();
    commit::init();
}

#[cfg(test)]
mod script;

#[cfg(test)]
mod layers;

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
