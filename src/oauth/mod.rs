//! What the RFCs say of a grant: its members, and the rules for each, as types. Nothing here knows of
//! PostgreSQL: what a grant is read from, and written to, is any format of serde. How its parts are stored,
//! and the life of a code, are elsewhere.

pub mod digest;
pub mod grant;
mod members;
pub mod numeric_date;
mod text;

pub use members::{Fault, Members};
pub use text::{Identifier, List, NonEmpty, S256};
