//! What the RFCs say about a grant: its members and the rule for each one, as types, and what a
//! token request has to prove.
//!
//! Nothing here knows PostgreSQL: a grant is read from and written to any serde format. The columns
//! of a grant are in table/, the life of a code is in codes/.

pub mod digest;
pub mod grant;
mod members;
pub mod numeric_date;
pub mod redemption;
mod text;

pub use grant::Confirmation;
pub use members::{Fault, Members};
pub use text::{Identifier, List, NonEmpty, S256};
