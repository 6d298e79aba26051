//! OAuth 2.0 authorization codes in PostgreSQL, single use by construction.

mod api;
mod error;
mod grant;
mod jsonb;
mod numeric_date;
mod secret;
mod store;
mod table;

::pgrx::pg_module_magic!(name, version);

::pgrx::extension_sql_file!(
    "../sql/authorizations.sql",
    name = "authorizations",
    bootstrap
);
::pgrx::extension_sql_file!("../sql/functions.sql", name = "functions", finalize);
