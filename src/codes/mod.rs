//! The life of a code and its consequences: the states and the steps between them, presentations and
//! what they have to prove, reuse, families of tokens, sweeps, statistics, and codes that a crash
//! spends.
//!
//! How a write is made to last is not decided here, but above, in commit/ and worker/.

pub mod completion;
pub mod counters;
pub mod families;
pub mod lifecycle;
pub mod meta;
pub mod presentation;
mod reuse;
mod runs;
pub mod statistics;
pub mod step;
pub mod sweep;
