//! The process that this code runs in, apart from its transactions: its database, its clock, its
//! latch.

use super::session::set_for_good;
use super::transaction::{is_cancellable, milliseconds};
use pgrx::{IntoDatum, PgMemoryContexts, Spi, direct_function_call_as_datum, pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::time::{Duration, Instant};

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process is a worker. Code that runs in one, such as a trigger, must not wait for
/// another worker.
pub fn is_worker() -> bool {
    IS_WORKER.get()
}

// pgrx wraps its own declarations in a guard, which must not run in a signal handler.
unsafe extern "C-unwind" {
    fn die(signal: c_int);
    fn SignalHandlerForConfigReload(signal: c_int);
    fn StatementCancelHandler(signal: c_int);
}

unsafe extern "C-unwind" fn cancel(signal: c_int) {
    if is_cancellable() {
        // SAFETY: it is called as PostgreSQL would call it.
        unsafe { StatementCancelHandler(signal) };
    }
}

/// Makes this process a worker and connects it as the cluster's bootstrap superuser, either to a
/// database or, without one, to the shared catalogs only. The worker waits for a lock no longer
/// than `patience`.
pub fn connect(database: Option<pg_sys::Oid>, patience: Duration) {
    IS_WORKER.set(true);
    // SAFETY: the process was started as a background worker with access to databases. With `die`,
    // SIGTERM ends it at the next safe point. The default would end it anywhere.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let set = pg_sys::pqsignal;
        #[cfg(feature = "pg18")]
        let set = pg_sys::pqsignal_be;
        set(pg_sys::SIGTERM as i32, Some(die));
        set(pg_sys::SIGINT as i32, Some(cancel));
        set(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pg_sys::BackgroundWorkerUnblockSignals();
        match database {
            Some(oid) => {
                pg_sys::BackgroundWorkerInitializeConnectionByOid(oid, pg_sys::InvalidOid, 0)
            }
            None => pg_sys::BackgroundWorkerInitializeConnection(ptr::null(), ptr::null(), 0),
        }
    }
    // Whatever the worker waits for, such as an administrator's unique index, others wait behind
    // it.
    set_for_good(c"lock_timeout", &milliseconds(patience));
}

/// The database that this process is connected to.
pub fn database() -> pg_sys::Oid {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::MyDatabaseId }
}

/// The name of that database.
pub fn database_name() -> String {
    // SAFETY: looks a name up.
    unsafe { text(pg_sys::get_database_name(pg_sys::MyDatabaseId)) }
}

/// The schema of the extension, or `None` if the database does not have the extension.
pub fn extension_schema() -> Option<pg_sys::Oid> {
    // The operator is qualified because a database may have another search_path.
    let query = "SELECT extnamespace FROM pg_catalog.pg_extension
                 WHERE extname OPERATOR(pg_catalog.=) 'attesto_codes'";
    Spi::connect(|client| client.select(query, Some(1), &[])?.first().get_one())
        .ok()
        .flatten()
}

/// A database of the cluster.
pub struct Database {
    pub oid: pg_sys::Oid,
    /// In the encoding of the session that named the database.
    pub name: String,
    /// Whether it accepts connections and is no template. A template can be copied only while
    /// nobody is connected to it.
    pub is_open: bool,
}

/// All databases of the cluster. Needs a transaction.
pub fn databases() -> Vec<Database> {
    let mut databases = Vec::new();
    // SAFETY: reads a shared catalog from its first row to its last. Each row is read before the
    // next one is fetched.
    unsafe {
        let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as _);
        let scan = pg_sys::table_beginscan_catalog(rel, 0, ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(tuple);
            databases.push(Database {
                oid: row.oid,
                name: text(row.datname.data.as_ptr().cast_mut()),
                // Below -1 means that a DROP DATABASE was interrupted.
                is_open: row.datallowconn && !row.datistemplate && row.datconnlimit >= -1,
            });
        }
        pg_sys::heap_endscan(scan);
        pg_sys::table_close(rel, pg_sys::AccessShareLock as _);
    }
    databases
}

/// The schema of a function that is being called.
pub fn schema_of(function: pg_sys::FunctionCallInfo) -> pg_sys::Oid {
    // SAFETY: fcinfo is that of the running function, whose flinfo is set.
    unsafe { pg_sys::get_func_namespace((*(*function).flinfo).fn_oid) }
}

/// The schema of a table, or `None` if it was dropped.
pub fn schema_of_table(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: looks up a catalog row.
    let schema = unsafe { pg_sys::get_rel_namespace(table) };
    (schema != pg_sys::InvalidOid).then_some(schema)
}

/// When the server was started. A crash that it recovers from itself does not change it.
pub fn server_started_at() -> i64 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::PgStartTime }
}

/// Whether another process waits until no other is connected to this database, to drop, rename or
/// copy it. Such a process locks the database first.
pub fn is_database_wanted() -> bool {
    // What every process locks while it connects.
    let mode = pg_sys::RowExclusiveLock;
    SharedObject(pg_sys::DatabaseRelationId, database()).is_locked_against(mode)
}

/// Stands for the places of background workers. No extension has this oid.
const PLACES: SharedObject = SharedObject(pg_sys::ExtensionRelationId, pg_sys::InvalidOid);

/// Whether a process waits for the place of a background worker.
pub fn is_place_wanted() -> bool {
    // Two that look at once do not see each other.
    PLACES.is_locked_against(pg_sys::RowExclusiveLock)
}

/// Shows workers without work that this process waits for a place, as long as this value lives.
#[derive(Default)]
pub struct WantsPlace {
    is_shown: bool,
}

impl WantsPlace {
    pub fn show(&mut self) {
        self.is_shown = self.is_shown || PLACES.lock(pg_sys::ShareLock);
    }
}

impl Drop for WantsPlace {
    fn drop(&mut self) {
        if self.is_shown {
            PLACES.unlock(pg_sys::ShareLock);
        }
    }
}

/// A row of a shared catalog, by the oids of the catalog and of the row, as locks name it.
struct SharedObject(pg_sys::Oid, pg_sys::Oid);

impl SharedObject {
    fn tag(&self) -> pg_sys::LOCKTAG {
        pg_sys::LOCKTAG {
            locktag_field1: 0,
            locktag_field2: self.0.into(),
            locktag_field3: self.1.into(),
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        }
    }

    /// Takes a lock that belongs to no transaction, unless it would have to wait.
    fn lock(&self, mode: u32) -> bool {
        // SAFETY: the tag is complete.
        let locked = unsafe { pg_sys::LockAcquire(&self.tag(), mode as i32, true, true) };
        locked != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
    }

    fn unlock(&self, mode: u32) {
        // SAFETY: the same lock.
        unsafe { pg_sys::LockRelease(&self.tag(), mode as i32, true) };
    }

    fn is_locked_against(&self, mode: u32) -> bool {
        let is_free = self.lock(mode);
        if is_free {
            self.unlock(mode);
        }
        !is_free
    }
}

/// The number of this process among all those that can run at once. The numbers of a few processes are low ones.
pub fn number() -> usize {
    // SAFETY: reads a variable of this process.
    unsafe {
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        return pg_sys::MyProcNumber as usize;
        // Until 16 those of pgprocno are high ones. Here the first is 1.
        #[cfg(not(any(feature = "pg17", feature = "pg18")))]
        return (pg_sys::MyBackendId - 1) as usize;
    }
}

/// Registers `react`, to be called when this process ends, while shared memory is still attached.
pub fn at_exit(react: fn()) {
    // SAFETY: the function lives as long as the library, which is never unloaded.
    unsafe { pg_sys::before_shmem_exit(Some(exits), pg_sys::Datum::from(react as *mut c_void)) };
}

#[pg_guard]
unsafe extern "C-unwind" fn exits(_code: i32, react: pg_sys::Datum) {
    // SAFETY: the argument is the function that `at_exit` was given.
    let react = unsafe { std::mem::transmute::<*mut c_void, fn()>(react.cast_mut_ptr()) };
    react();
}

pub fn pid() -> i32 {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::MyProcPid }
}

/// Whether the transaction is READ ONLY, as on every standby.
pub fn is_read_only() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::XactReadOnly }
}

/// Whether the server is a standby, or recovers from a crash.
pub fn is_in_recovery() -> bool {
    // SAFETY: reads a variable of the server.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether this is the postmaster, loading shared_preload_libraries.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Whether pg_upgrade runs the server. Nothing may be written then.
pub fn is_in_binary_upgrade() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// The current time as a timestamp, in microseconds.
pub fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// A clock of this process, for what is to be done now and then.
pub struct Pace(Cell<Option<Instant>>);

impl Pace {
    pub const fn new() -> Pace {
        Pace(Cell::new(None))
    }

    /// Whether the last time that this was true is at least so long ago.
    pub fn is_due(&self, interval: Duration) -> bool {
        let is_due = self.0.get().is_none_or(|last| last.elapsed() >= interval);
        if is_due {
            self.0.set(Some(Instant::now()));
        }
        is_due
    }
}

/// Random bytes that nobody can guess, or `None` if the operating system has no source of them.
pub fn random_bytes<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}

/// Sends a NOTIFY when the transaction commits.
pub fn notify(channel: &str, payload: &str) {
    // SAFETY: pg_notify takes two texts, which it copies.
    unsafe {
        direct_function_call_as_datum(
            pg_sys::pg_notify,
            &[channel.into_datum(), payload.into_datum()],
        );
    }
}

/// The five characters of an SQLSTATE.
pub fn sqlstate(packed: i32) -> String {
    // SAFETY: returns a static C string.
    unsafe { text(pg_sys::unpack_sql_state(packed)) }
}

/// The text of a C string, or an empty one for a null pointer.
unsafe fn text(text: *mut c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: the caller passes a C string.
        false => unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned(),
    }
}

/// Wakes a process. It is in shared memory, which outlives every process.
#[derive(Clone, Copy)]
pub struct Latch(*mut pg_sys::Latch);

impl Latch {
    /// The latch of this process.
    pub fn mine() -> Latch {
        // SAFETY: reads a variable of this process.
        Latch(unsafe { pg_sys::MyLatch })
    }

    pub fn wake(self) {
        if !self.0.is_null() {
            // SAFETY: the latch of some process, found by `mine`.
            unsafe { pg_sys::SetLatch(self.0) };
        }
    }
}

/// Waits for this process's latch. Returns true if the latch was set, false if the time ran out.
pub fn pause(time: Duration) -> bool {
    // SAFETY: this process owns the latch. If the postmaster dies, the process ends.
    unsafe {
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        let woken = pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            time.as_millis() as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
        pgrx::check_for_interrupts!();
        woken & pg_sys::WL_LATCH_SET as i32 != 0
    }
}

/// Memory for work that is done again and again.
pub struct Scratch(PgMemoryContexts);

impl Scratch {
    /// To be made once: its name stays in memory for as long as the process lives.
    pub fn new() -> Scratch {
        Scratch(PgMemoryContexts::new("attesto_codes"))
    }

    /// Does `work`, which begins no transaction, and frees the memory that PostgreSQL allocated for it.
    pub fn freed_afterwards(&mut self, work: impl FnOnce()) {
        // SAFETY: `work` returns nothing that lies in the context.
        unsafe {
            self.0.switch_to(|_| work());
            self.0.reset();
        }
    }
}
