//! Finds rows by an index.

use super::row::Slot;
use super::shape::is_key_of;
use super::{Columns, Row, Table};
use crate::error::Error;
use pgrx::{IntoDatum, check_for_interrupts, pg_sys};
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::ptr;

/// An index of a table: its name and its columns.
pub struct Index<C: 'static> {
    pub name: &'static CStr,
    pub columns: &'static [C],
}

impl<C: Columns> Index<C> {
    /// Opens the index. Returns `None` if the table has no such index.
    pub(super) unsafe fn open(&self, table: &Table<C>) -> Option<pg_sys::Relation> {
        // SAFETY: looks up a name.
        let named = || unsafe {
            let oid = pg_sys::get_relname_relid(self.name.as_ptr(), table.schema());
            (pg_sys::IndexGetRelation(oid, true) == table.oid()).then_some(oid)
        };
        // SAFETY: the table is open.
        unsafe { open(named, pg_sys::AccessShareLock as _, |index| self.is(index)) }
    }

    /// Whether this is the wanted index and contains every row.
    unsafe fn is(&self, index: pg_sys::Relation) -> bool {
        // SAFETY: the index is open, and rd_index names its columns.
        unsafe {
            let form = &*(*index).rd_index;
            let columns = form.indkey.values.as_slice(form.indnkeyatts as usize);
            let wanted = self
                .columns
                .iter()
                .map(|column| column.position() as i16 + 1);
            (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
                && form.indisvalid
                && pg_sys::RelationGetIndexPredicate(index).is_null()
                && wanted.eq(columns.iter().copied())
        }
    }
}

/// Opens the primary key of an open table. Returns `None` if there is none, or if it is not that of
/// C.
pub unsafe fn open_key<C: Columns>(
    rel: pg_sys::Relation,
    mode: pg_sys::LOCKMODE,
) -> Option<pg_sys::Relation> {
    // SAFETY: rel is open, and so is the index passed to the closure.
    unsafe { open(|| primary_key(rel), mode, |index| is_key_of::<C>(index)) }
}

/// Opens the index that `find` names. Before it is locked, REINDEX CONCURRENTLY may have put
/// another one in its place, which is opened then. The lock on the table keeps both from being
/// dropped.
unsafe fn open(
    find: impl Fn() -> Option<pg_sys::Oid>,
    mode: pg_sys::LOCKMODE,
    is_it: impl Fn(pg_sys::Relation) -> bool,
) -> Option<pg_sys::Relation> {
    let mut found = find();
    while let Some(oid) = found {
        // SAFETY: the index belongs to a locked table.
        let index = unsafe { pg_sys::index_open(oid, mode) };
        if is_it(index) {
            return Some(index);
        }
        // SAFETY: opened above.
        unsafe { pg_sys::index_close(index, pg_sys::NoLock as _) };
        found = find().filter(|now| *now != oid);
    }
    None
}

pub unsafe fn primary_key(rel: pg_sys::Relation) -> Option<pg_sys::Oid> {
    // SAFETY: rel is open.
    let oid = unsafe {
        pg_sys::RelationGetPrimaryKeyIndex(
            rel,
            #[cfg(feature = "pg18")]
            false,
        )
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// A condition on a column of an index. Columns are counted from 1.
pub struct Key(pg_sys::ScanKeyData);

impl Key {
    pub fn text(column: i16, value: &str) -> Key {
        // A &str without a NUL byte and of a checked length always has a datum.
        let datum = value.into_datum().unwrap_or(pg_sys::Datum::null());
        Key::new(
            column,
            pg_sys::BTEqualStrategyNumber,
            pg_sys::F_TEXTEQ,
            datum,
        )
    }

    /// A timestamptz before this one.
    pub fn before(column: i16, timestamp: i64) -> Key {
        let less = pg_sys::F_TIMESTAMPTZ_LT;
        Key::new(column, pg_sys::BTLessStrategyNumber, less, timestamp.into())
    }

    /// This timestamptz or a later one.
    pub fn from(column: i16, timestamp: i64) -> Key {
        let at_least = pg_sys::F_TIMESTAMPTZ_GE;
        Key::new(
            column,
            pg_sys::BTGreaterEqualStrategyNumber,
            at_least,
            timestamp.into(),
        )
    }

    pub fn is_null(column: i16) -> Key {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: writes a scan key. A key for IS NULL has no operator.
        unsafe {
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                (pg_sys::SK_ISNULL | pg_sys::SK_SEARCHNULL) as i32,
                column,
                0,
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::Datum::null(),
            );
        }
        Key(key)
    }

    fn new(column: i16, strategy: u32, function: u32, value: pg_sys::Datum) -> Key {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: writes a scan key. A text's datum is palloc'ed and outlives the scan.
        unsafe { pg_sys::ScanKeyInit(&mut key, column, strategy as _, function.into(), value) };
        Key(key)
    }
}

/// The order in which an index is walked.
#[derive(Clone, Copy, PartialEq)]
pub enum Walk {
    Forward,
    Backward,
}

impl<C: Columns> Table<C> {
    /// The newest committed version of a row, or this transaction's own.
    ///
    /// An index scan can miss a row that another transaction changes meanwhile: the old version
    /// dies after the scan has passed the place of the new one. Each change can cause one miss, so
    /// one miss more than there can be changes means that there is no row.
    pub fn find(&self, key: &str) -> Option<Row<'_, C>> {
        (0..=C::CHANGES).find_map(|_| self.probe(vec![Key::text(1, key)]))
    }

    /// The row with the lowest key.
    pub fn first(&self) -> Option<Row<'_, C>> {
        self.probe(Vec::new())
    }

    fn probe(&self, keys: Vec<Key>) -> Option<Row<'_, C>> {
        let slot = Slot::of(self.rel);
        // SAFETY: SnapshotSelf is a static variable of PostgreSQL.
        let scan = unsafe {
            let snapshot = &raw mut pg_sys::SnapshotSelfData;
            Scan::begin(self.rel, self.pkey, snapshot, keys)
        };
        let found = scan.next(Walk::Forward, &slot);
        scan.end();
        found.then_some(Row {
            slot,
            table: PhantomData,
        })
    }

    /// Passes the rows that `keys` name to `each`, in the order of an index, until `each` breaks.
    /// `each` may change or remove the row. It may see the rows that it writes.
    pub fn walk<B>(
        &self,
        index: &Index<C>,
        keys: Vec<Key>,
        direction: Walk,
        mut each: impl FnMut(&Row<'_, C>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, Error> {
        let row = Row {
            slot: Slot::of(self.rel),
            table: PhantomData,
        };
        // SAFETY: the index belongs to this table, whose lock keeps it from being dropped. It is
        // closed after the scan.
        unsafe {
            let rel = index.open(self).ok_or(Error::NoTable(index.name))?;
            let scan = Scan::begin(self.rel, rel, &raw mut pg_sys::SnapshotSelfData, keys);
            let mut flow = ControlFlow::Continue(());
            while flow.is_continue() && scan.next(direction, &row.slot) {
                check_for_interrupts!();
                flow = each(&row);
            }
            scan.end();
            pg_sys::index_close(rel, self.released);
            Ok(flow)
        }
    }

    /// Waits for another open transaction that has written the row to end. Returns false if there
    /// is none.
    pub fn wait_for_writer(&self, key: &str) -> bool {
        let mut snapshot = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let slot = Slot::of(self.rel);
        // SAFETY: a dirty snapshot is input and output. For the row that it lets through, it names
        // the open transaction that wrote or replaced the row, if there is one.
        unsafe {
            let scan = Scan::begin(self.rel, self.pkey, &mut snapshot, vec![Key::text(1, key)]);
            let found = scan.next(Walk::Forward, &slot);
            scan.end();
            let writer = match snapshot.xmin {
                pg_sys::InvalidTransactionId => snapshot.xmax,
                inserter => inserter,
            };
            if !found || writer == pg_sys::InvalidTransactionId {
                return false;
            }
            let row = &raw mut (*slot.0).tts_tid;
            pg_sys::XactLockTableWait(writer, self.rel, row, pg_sys::XLTW_Oper::XLTW_Update);
            true
        }
    }
}

struct Scan {
    scan: pg_sys::IndexScanDesc,
    _keys: Vec<pg_sys::ScanKeyData>,
}

impl Scan {
    /// `rel` and `index` must be open, and the snapshot must live, until `end`.
    unsafe fn begin(
        rel: pg_sys::Relation,
        index: pg_sys::Relation,
        snapshot: pg_sys::Snapshot,
        keys: Vec<Key>,
    ) -> Scan {
        let mut keys: Vec<pg_sys::ScanKeyData> = keys.into_iter().map(|key| key.0).collect();
        unsafe {
            let scan = pg_sys::index_beginscan(
                rel,
                index,
                snapshot,
                #[cfg(feature = "pg18")]
                ptr::null_mut(),
                keys.len() as i32,
                0,
            );
            pg_sys::index_rescan(
                scan,
                keys.as_mut_ptr(),
                keys.len() as i32,
                ptr::null_mut(),
                0,
            );
            Scan { scan, _keys: keys }
        }
    }

    /// Puts the next row into the slot, which has its own pin on the row's page.
    fn next(&self, direction: Walk, slot: &Slot) -> bool {
        let direction = match direction {
            Walk::Forward => pg_sys::ScanDirection::ForwardScanDirection,
            Walk::Backward => pg_sys::ScanDirection::BackwardScanDirection,
        };
        // SAFETY: the scan has begun and not ended.
        unsafe { pg_sys::index_getnext_slot(self.scan, direction, slot.0) }
    }

    fn end(self) {
        // SAFETY: the scan was begun by `begin`. The slot keeps the row readable.
        unsafe { pg_sys::index_endscan(self.scan) };
    }
}
