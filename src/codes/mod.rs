//! The life of a code and its consequences: the states and the steps between them, reuse, families
//! of tokens, sweeps, statistics, and codes that a crash spends.
//!
//! How a write is made to last is not decided here, but above, in commit/ and worker/.

pub mod counters;
pub mod families;
pub mod lifecycle;
mod reuse;
mod runs;
pub mod statistics;
pub mod step;
pub mod sweep;
