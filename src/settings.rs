//! The settings of the extension.

#[cfg(not(feature = "pg14"))]
use crate::pg::session::reserve;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// What code_take does where the surrounding transaction could still undo the spend.
#[derive(Clone, Copy, PartialEq, PostgresGucEnum)]
pub enum TakeInTransaction {
    /// Commit the spend in a transaction of its own, before the entry is handed out.
    #[name = c"independent"]
    Independent,
    /// Raise 25001.
    #[name = c"refuse"]
    Refuse,
    /// Make the spend part of the caller's transaction: a ROLLBACK makes the code live again.
    #[name = c"join"]
    Join,
}

pub static TAKE_IN_TRANSACTION: GucSetting<TakeInTransaction> =
    GucSetting::<TakeInTransaction>::new(TakeInTransaction::Independent);

/// Whether a code that is put now stays live over a crash of the server.
pub static CODES_SURVIVE_CRASH: GucSetting<bool> = GucSetting::<bool>::new(true);

const DEFAULT_RETENTION: i32 = 30 * 86_400;

/// How long a redeemed code is kept past its expiry, in seconds.
pub static REUSE_RETENTION: GucSetting<i32> = GucSetting::<i32>::new(DEFAULT_RETENTION);

/// That of this connection, if it has one of its own. One that may not change the setting, but gave it in
/// its options, falls back to the default where the library is not preloaded: what the database has must
/// not be lost by that.
pub fn session_retention() -> Option<i32> {
    Some(REUSE_RETENTION.get()).filter(|retention| *retention != DEFAULT_RETENTION)
}

/// Between two sweeps of all databases, in seconds; 0: there are none.
pub static SWEEP_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);

pub fn init() {
    GucRegistry::define_enum_guc(
        c"attesto_codes.take_in_transaction",
        c"What code_take does inside a transaction that could still undo it.",
        c"independent commits the spend on its own; refuse raises an error; join gives up the guarantee that a rolled back take stays spent.",
        &TAKE_IN_TRANSACTION,
        // To change it weakens a guarantee.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"attesto_codes.codes_survive_crash",
        c"Whether codes that code_put stores stay live over a crash of the server.",
        c"off: a crash spends them, so that their takes need not wait for the disk.",
        &CODES_SURVIVE_CRASH,
        // To change it weakens a guarantee.
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"attesto_codes.reuse_retention",
        c"How long a redeemed code is kept past its expiry, as evidence of its reuse.",
        c"It is kept for longer where an access token of its family expires later.",
        &REUSE_RETENTION,
        0,
        i32::MAX,
        // To shorten it weakens a guarantee.
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"attesto_codes.sweep_interval",
        c"Between two sweeps of all databases that have the extension.",
        c"0 turns them off. They need shared_preload_libraries.",
        &SWEEP_INTERVAL,
        0,
        // Milliseconds are what a latch waits in.
        i32::MAX / 1000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    #[cfg(not(feature = "pg14"))]
    reserve(c"attesto_codes");
}
