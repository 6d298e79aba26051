//! How many rows of a sweep share a transaction.

/// Rows that one transaction removes or retains at most.
const BATCH: usize = 10_000;

/// The same, where each row has a savepoint of its own: more than 64 would cost everybody's snapshots.
const CAREFUL_BATCH: usize = 50;

/// How a sweep goes on where something fails.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Care {
    /// Many rows in one transaction.
    Bold,
    /// Each with a savepoint of its own: where the table is not plain, or a row was refused.
    Careful,
    /// Each in a transaction of its own: where a commit was refused.
    Single,
}

impl Care {
    /// At most.
    pub fn batch(self) -> usize {
        match self {
            Care::Bold => BATCH,
            Care::Careful => CAREFUL_BATCH,
            Care::Single => 1,
        }
    }

    /// After a failure.
    pub fn more(self) -> Care {
        match self {
            Care::Bold => Care::Careful,
            Care::Careful | Care::Single => Care::Single,
        }
    }
}
