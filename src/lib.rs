//! OAuth 2.0 authorization codes in PostgreSQL, single use by construction.

mod api;
mod error;
mod grant;
mod independent;
mod jsonb;
mod numeric_date;
mod rollback;
mod secret;
mod settings;
mod store;
mod table;
mod take;
mod undo;

::pgrx::pg_module_magic!(name, version);

::pgrx::extension_sql_file!(
    "../sql/authorizations.sql",
    name = "authorizations",
    bootstrap
);
::pgrx::extension_sql_file!("../sql/functions.sql", name = "functions", finalize);

#[::pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::init();
    undo::init();
    rollback::init();
    independent::init();
}
