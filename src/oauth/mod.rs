//! What the RFCs say: the grant, the digest of a code, times.
//!
//! Nothing here knows of PostgreSQL: no pgrx, no unsafe, plain unit tests.

pub mod digest;
pub mod numeric_date;
