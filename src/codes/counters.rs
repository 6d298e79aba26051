//! Counts events in this database since the server started. A ROLLBACK does not undo a count.

use super::presentation::Answer;
use crate::oauth::redemption::Reason;
use crate::pg::shared_counters::{COUNTERS, counter};
use std::sync::atomic::Ordering;

#[derive(Clone, Copy)]
pub enum Counter {
    Puts,
    TakesOk,
    TakesConsumed,
    TakesError,
    MarksOk,
    MarksReplayed,
    MarksMissing,
    /// Redeemed codes that were presented again. Each code counts once.
    Reuses,
    Sweeps,
    RowsSwept,
    SpendsStatement,
    SpendsOneshot,
    SpendsResident,
    SpendsJoined,
    RedeemsOk,
    RedeemsConsumed,
    RedeemsUnknown,
    RedeemsExpired,
    RedeemsClientMismatch,
    RedeemsRedirectUriMismatch,
    RedeemsPkceFailed,
    RedeemsDpopProofRequired,
    RedeemsDpopBindingMismatch,
    RedeemsRevoked,
    RedeemsSpent,
    Completes,
    /// Replays and reuses whose write revoked the names of their code.
    RevocationsByReuse,
}

const _: () = assert!((Counter::RevocationsByReuse as usize) < COUNTERS);

impl Counter {
    /// The counter of code_redeem for an answer.
    pub fn of_redeem(answer: &Answer) -> Counter {
        match answer {
            Answer::Ok(_) => Counter::RedeemsOk,
            Answer::Consumed(_) => Counter::RedeemsConsumed,
            Answer::Error(Reason::Unknown) => Counter::RedeemsUnknown,
            Answer::Error(Reason::Expired) => Counter::RedeemsExpired,
            Answer::Error(Reason::ClientMismatch) => Counter::RedeemsClientMismatch,
            Answer::Error(Reason::RedirectUriMismatch) => Counter::RedeemsRedirectUriMismatch,
            Answer::Error(Reason::PkceFailed) => Counter::RedeemsPkceFailed,
            Answer::Error(Reason::DpopProofRequired) => Counter::RedeemsDpopProofRequired,
            Answer::Error(Reason::DpopBindingMismatch) => Counter::RedeemsDpopBindingMismatch,
            Answer::Error(Reason::Revoked) => Counter::RedeemsRevoked,
            Answer::Error(Reason::Spent) => Counter::RedeemsSpent,
        }
    }

    /// The counter of code_take for an answer.
    pub fn of_take(answer: &Answer) -> Counter {
        match answer {
            Answer::Ok(_) => Counter::TakesOk,
            Answer::Consumed(_) => Counter::TakesConsumed,
            Answer::Error(_) => Counter::TakesError,
        }
    }
}

pub fn add(which: Counter, number: u64) {
    if let Some(counter) = counter(which as usize) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

/// `None` if this database is not counted.
pub fn get(which: Counter) -> Option<i64> {
    counter(which as usize).map(|counter| counter.load(Ordering::Relaxed) as i64)
}
