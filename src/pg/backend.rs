//! Where in the database the extension is.

use pgrx::{Spi, pg_sys};
use std::ffi::CStr;

/// The schema of the extension. `None`: the database does not have it.
pub fn schema() -> Option<pg_sys::Oid> {
    // Qualified, since a database may have another search_path.
    let query = "SELECT extnamespace FROM pg_catalog.pg_extension
                 WHERE extname OPERATOR(pg_catalog.=) 'attesto_codes'";
    Spi::connect(|client| client.select(query, Some(1), &[])?.first().get_one())
        .ok()
        .flatten()
}

/// The name of this database.
pub fn database_name() -> String {
    // SAFETY: looks a name up; the database that this backend is connected to has one.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        match name.is_null() {
            true => String::new(),
            false => CStr::from_ptr(name).to_string_lossy().into_owned(),
        }
    }
}
