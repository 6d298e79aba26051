//! The settings of the extension.

#[cfg(not(feature = "pg14"))]
use crate::pg::session::reserve;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// How code_take and code_redeem behave if the surrounding transaction could still undo the spend.
#[derive(Clone, Copy, PartialEq, PostgresGucEnum)]
pub enum TakeInTransaction {
    /// Commits the spend in a transaction of its own before the entry is returned.
    #[name = c"independent"]
    Independent,
    /// Raises 25001.
    #[name = c"refuse"]
    Refuse,
    /// Makes the spend part of the caller's transaction. A ROLLBACK makes the code live again.
    #[name = c"join"]
    Join,
}

pub static TAKE_IN_TRANSACTION: GucSetting<TakeInTransaction> =
    GucSetting::<TakeInTransaction>::new(TakeInTransaction::Independent);

/// Whether codes put from now on stay live when the server crashes.
pub static CODES_SURVIVE_CRASH: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Whether a replay or reuse by code_redeem revokes the names of the code.
pub static REVOKE_ON_REUSE: GucSetting<bool> = GucSetting::<bool>::new(true);

/// For how long after the spend a presentation by code_redeem that proves the client's key counts as
/// a second try, in seconds.
pub static REPLAY_GRACE: GucSetting<i32> = GucSetting::<i32>::new(0);

/// The most that the meta of code_redeem may hold, in bytes. An order to a worker has room for it.
pub const META_BYTES: usize = 4096;

const DEFAULT_RETENTION: i32 = 30 * 86_400;

/// How long a redeemed code is kept after its expiry, in seconds.
pub static REUSE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(DEFAULT_RETENTION);

/// The retention of this connection, if it differs from the default. A role that may not change the
/// setting, but gave it in its connection options, falls back to the default unless the library is
/// preloaded. That must not override the setting of the database.
pub fn session_retention() -> Option<i32> {
    Some(REUSE_RETENTION.get()).filter(|retention| *retention != DEFAULT_RETENTION)
}

/// The time between two sweeps of a database, in seconds. 0 turns the sweeps off.
pub static SWEEP_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);

pub fn init() {
    GucRegistry::define_enum_guc(
        c"attesto_codes.take_in_transaction",
        c"How code_take and code_redeem behave in a transaction that could still undo the spend.",
        c"independent commits the spend in a transaction of its own; refuse raises an error; join makes the spend part of the transaction, so that a rollback makes the code live again.",
        &TAKE_IN_TRANSACTION,
        // Changing it weakens a guarantee.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"attesto_codes.codes_survive_crash",
        c"Whether codes that code_put and code_issue store stay live when the server crashes.",
        c"If off, a crash spends them, so that their takes need not wait for the disk.",
        &CODES_SURVIVE_CRASH,
        // Changing it weakens a guarantee.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"attesto_codes.revoke_on_reuse",
        c"Whether code_redeem revokes the names of a code that is presented again.",
        c"If off, the caller has to revoke them.",
        &REVOKE_ON_REUSE,
        // Changing it weakens a guarantee.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"attesto_codes.replay_grace",
        c"For how long after the first presentation code_redeem takes another one for a second try of the same client.",
        c"The client has to prove the same key. For this long a thief who holds both the code and the key is not noticed.",
        &REPLAY_GRACE,
        0,
        60,
        // Raising it weakens a guarantee.
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"attesto_codes.reuse_retention",
        c"How long a redeemed code is kept after its expiry, as evidence of its reuse.",
        c"It is kept longer if an access token of its family expires later.",
        &REUSE_RETENTION,
        0,
        i32::MAX,
        // Shortening it weakens a guarantee.
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"attesto_codes.sweep_interval",
        c"Time between two sweeps of a database.",
        c"0 turns the sweeps off. Without shared_preload_libraries they need sessions that put codes.",
        &SWEEP_INTERVAL,
        0,
        // A latch waits in milliseconds.
        i32::MAX / 1000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    #[cfg(not(feature = "pg14"))]
    reserve(c"attesto_codes");
}
