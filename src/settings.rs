//! The settings of the extension.

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
    #[cfg(not(feature = "pg14"))]
    // SAFETY: a static string; from here on a misspelt setting is an error.
    unsafe {
        pgrx::pg_sys::MarkGUCPrefixReserved(c"attesto_codes".as_ptr());
    }
}
