//! How cautious a sweep is, and so how many rows share a transaction.

/// How many rows one transaction removes or retains at most.
const BATCH: usize = 10_000;

/// The same where each row has a savepoint. With more than 64 savepoints, the snapshots of all
/// other transactions would become slower.
const CAREFUL_BATCH: usize = 50;

/// How cautious a sweep is. A failure makes it more cautious.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub enum Care {
    /// Many rows share a transaction.
    Bold,
    /// Each row has a savepoint: the table is not plain, or a row was refused.
    Careful,
    /// Each row has a transaction: a commit was refused.
    Single,
}

impl Care {
    /// The largest batch, in rows.
    pub fn batch(self) -> usize {
        match self {
            Care::Bold => BATCH,
            Care::Careful => CAREFUL_BATCH,
            Care::Single => 1,
        }
    }

    /// The next level, after a failure.
    pub fn more(self) -> Care {
        match self {
            Care::Bold => Care::Careful,
            Care::Careful | Care::Single => Care::Single,
        }
    }
}
