//! Where in the database the extension is.

use pgrx::{Spi, pg_sys};

/// The schema of the extension. `None`: the database does not have it.
pub fn schema() -> Option<pg_sys::Oid> {
    // Qualified, since a database may have another search_path.
    let query = "SELECT extnamespace FROM pg_catalog.pg_extension
                 WHERE extname OPERATOR(pg_catalog.=) 'attesto_codes'";
    Spi::connect(|client| client.select(query, Some(1), &[])?.first().get_one())
        .ok()
        .flatten()
}
