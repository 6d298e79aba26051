//! Whether the running statement is final: nothing can undo its effects before they are committed.
//!
//! A presentation that runs as a statement of its own is committed with that statement and needs no
//! help. Anything else can be undone: by ROLLBACK, by a later statement of the same transaction,
//! message or pipeline, by a function around the call, or by another part of the same query. A
//! statement counts as final only if it is known to be safe.

use crate::pg::statement::elements;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

thread_local! {
    /// The innermost running query, if it has no row limit.
    static RUN_TO_END: Cell<*const pg_sys::QueryDesc> = const { Cell::new(ptr::null()) };
}

/// The hook that was there before ours.
static mut PREVIOUS_RUN: pg_sys::ExecutorRun_hook_type = None;

/// Whether the function is called by a statement whose outcome depends on nothing else: it runs
/// outside of a transaction block, in READ COMMITTED, and its plan is nothing but the call.
pub fn is_final(function: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: reads variables of this backend and the plan that it is running; fcinfo is that of
    // the running function.
    unsafe {
        pg_sys::XactIsoLevel == pg_sys::XACT_READ_COMMITTED as i32
            && !pg_sys::IsInTransactionBlock(true)
            && pg_sys::pg_get_client_encoding() == pg_sys::GetDatabaseEncoding()
            && !waits_for_standbys()
            && is_whole_statement(function)
    }
}

/// A client may cancel its wait for a synchronous standby and still get its rows. Only a worker can
/// tell that the standby does not have the spend.
unsafe fn waits_for_standbys() -> bool {
    unsafe {
        let names = pg_sys::SyncRepStandbyNames;
        !names.is_null() && !CStr::from_ptr(names).is_empty()
    }
}

/// Registers the hook that watches the executor, once in each process. A session loads the library
/// when it prepares its first call, and thus before it runs that call.
pub fn init() {
    // SAFETY: the hook lives as long as the library, which is never unloaded.
    unsafe {
        PREVIOUS_RUN = pg_sys::ExecutorRun_hook;
        pg_sys::ExecutorRun_hook = Some(executor_run);
    }
}

/// Whether the client's statement is `SELECT columns FROM the_call`, run to its end.
unsafe fn is_whole_statement(function: pg_sys::FunctionCallInfo) -> bool {
    unsafe {
        let Some(portal) = pg_sys::ActivePortal.as_ref() else {
            return false;
        };
        // Cursors, and the portals of EXECUTE and of server-side functions, have names.
        let Some(query) = portal.queryDesc.as_ref() else {
            return false;
        };
        portal.strategy == pg_sys::PortalStrategy::PORTAL_ONE_SELECT
            && !portal.name.is_null()
            && CStr::from_ptr(portal.name).is_empty()
            && runs_to_its_end(query)
            && calling_query(function) == query.estate
            && is_sent_to_client(query)
            && is_lone_call(query.plannedstmt)
    }
}

/// Whether a query runs without a row limit. A cursor, or an Execute message with a limit, leaves
/// the portal open, and so the transaction.
fn runs_to_its_end(query: *const pg_sys::QueryDesc) -> bool {
    RUN_TO_END.get() == query
}

// pgrx wraps its own declaration in a guard; see below.
unsafe extern "C-unwind" {
    #[cfg(not(feature = "pg18"))]
    fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
        once: bool,
    );
    #[cfg(feature = "pg18")]
    fn standard_ExecutorRun(
        query: *mut pg_sys::QueryDesc,
        direction: pg_sys::ScanDirection::Type,
        count: u64,
    );
}

/// Notes which query the executor runs to its end. PostgreSQL does not tell this elsewhere.
///
/// Every query of the session passes through here. A guard would turn each of its errors into a
/// panic and back, and lose the parts that pgrx does not know, so there is none. An error jumps
/// over this frame, which owns nothing, and leaves the address of a query that no longer runs. The
/// next query writes its own address before it begins.
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    #[cfg(not(feature = "pg18"))] once: bool,
) {
    let outer = RUN_TO_END.replace(if count == 0 { query } else { ptr::null_mut() });
    // SAFETY: passes its arguments on to the previous hook or to the executor.
    unsafe {
        PREVIOUS_RUN.unwrap_or(standard_ExecutorRun)(
            query,
            direction,
            count,
            #[cfg(not(feature = "pg18"))]
            once,
        );
    }
    RUN_TO_END.set(outer);
}

/// The execution state of the query that called a set-returning function.
unsafe fn calling_query(function: pg_sys::FunctionCallInfo) -> *mut pg_sys::EState {
    unsafe {
        let result = (*function).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        match result.as_ref() {
            Some(info)
                if info.type_ == pg_sys::NodeTag::T_ReturnSetInfo && !info.econtext.is_null() =>
            {
                (*info.econtext).ecxt_estate
            }
            _ => ptr::null_mut(),
        }
    }
}

unsafe fn is_sent_to_client(query: &pg_sys::QueryDesc) -> bool {
    use pg_sys::CommandDest::{DestRemote, DestRemoteExecute};
    unsafe { query.dest.as_ref() }
        .is_some_and(|dest| dest.mydest == DestRemote || dest.mydest == DestRemoteExecute)
}

unsafe fn is_lone_call(statement: *mut pg_sys::PlannedStmt) -> bool {
    unsafe {
        let Some(statement) = statement.as_ref() else {
            return false;
        };
        let plan = statement.planTree;
        if statement.commandType != pg_sys::CmdType::CMD_SELECT
            || !statement.subplans.is_null()
            || !statement.rowMarks.is_null()
            || plan.is_null()
            || (*plan).type_ != pg_sys::NodeTag::T_FunctionScan
        {
            return false;
        }
        let scan = plan.cast::<pg_sys::FunctionScan>();
        (*plan).qual.is_null()
            && (*plan).initPlan.is_null()
            && elements((*scan).functions).len() == 1
            && selects_columns_only((*plan).targetlist)
    }
}

/// Reading a column of the result cannot fail. An expression might.
unsafe fn selects_columns_only(targets: *mut pg_sys::List) -> bool {
    unsafe {
        elements(targets).iter().all(|element| {
            let target = element.ptr_value.cast::<pg_sys::TargetEntry>();
            (*(*target).expr).type_ == pg_sys::NodeTag::T_Var
        })
    }
}
