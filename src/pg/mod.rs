//! PostgreSQL's API outside of tables: this process, its transactions, settings and rights, errors
//! raised by others, result rows, memory that may run out.
//!
//! Nothing here knows what a code is. The tables are in table/.

pub mod backend;
pub mod failure;
pub mod jsonb;
pub mod memory;
pub mod report;
pub mod result_row;
pub mod segment;
pub mod session;
pub mod shared_counters;
pub mod statement;
pub mod texts;
pub mod transaction;

/// Runs before the server starts its first process, or when a session loads the library.
pub fn init() {
    transaction::init();
    shared_counters::init();
}
