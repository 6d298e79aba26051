//! The life of a code and what follows from it: its states and the steps between them, reuse, families of tokens, sweeps,
//! statistics, and codes that a crash spends.
//!
//! How a write is made to last is not known here: that is commit/ and worker/, above.

pub mod counters;
pub mod families;
pub mod lifecycle;
mod reuse;
mod runs;
pub mod statistics;
pub mod step;
pub mod sweep;
