//! An order: a step to be written, as it lies in shared memory.

use crate::codes::step::Step;
use crate::error::Error;
use crate::pg::backend::database;
use crate::pg::jsonb::Jsonb;
use crate::pg::session::replication_role;
use crate::settings::META_BYTES;
use pgrx::pg_sys;
use std::ffi::c_int;

const CODE_HASH_BYTES: usize = 255;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Order {
    pub head: Head,
    /// The meta of a redemption, or nothing.
    pub meta: Bytes<META_BYTES>,
}

/// An order without its meta, which few orders have and which is larger than all the rest.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Head {
    pub database: pg_sys::Oid,
    pub table: pg_sys::Oid,
    /// The caller's session_replication_role, which decides which triggers fire.
    pub replication_role: c_int,
    kind: Kind,
    /// Whether the caller's settings have the step revoke the names of the code.
    revokes: bool,
    code_hash: Bytes<CODE_HASH_BYTES>,
}

#[repr(u8)]
#[derive(Clone, Copy)]
enum Kind {
    Spend,
    /// A spend with a meta.
    Redeem,
    Close,
    Replay,
    Reuse,
    Revoke,
}

/// A string of at most N bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<const N: usize> {
    length: u16,
    bytes: [u8; N],
}

impl<const N: usize> Bytes<N> {
    pub const NONE: Bytes<N> = Bytes {
        length: 0,
        bytes: [0; N],
    };

    fn set(&mut self, value: &[u8], failure: Error) -> Result<(), Error> {
        let room = self.bytes.get_mut(..value.len()).ok_or(failure)?;
        room.copy_from_slice(value);
        self.length = value.len() as u16;
        Ok(())
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Head {
    pub const NONE: Head = Head {
        database: pg_sys::InvalidOid,
        table: pg_sys::InvalidOid,
        replication_role: 0,
        kind: Kind::Spend,
        revokes: false,
        code_hash: Bytes::NONE,
    };

    pub fn code_hash(&self) -> &str {
        std::str::from_utf8(self.code_hash.get()).unwrap_or_default()
    }
}

impl Order {
    pub fn new(step: &Step, table: pg_sys::Oid, code_hash: &str) -> Result<Order, Error> {
        let mut head = Head {
            database: database(),
            table,
            replication_role: replication_role(),
            kind: match step {
                Step::Spend(None) => Kind::Spend,
                Step::Spend(Some(_)) => Kind::Redeem,
                Step::Close => Kind::Close,
                Step::Replay { .. } => Kind::Replay,
                Step::Reuse { .. } => Kind::Reuse,
                Step::Revoke => Kind::Revoke,
            },
            revokes: step.revokes(),
            ..Head::NONE
        };
        head.code_hash.set(code_hash.as_bytes(), Error::CodeHash)?;
        let mut meta = Bytes::NONE;
        if let Step::Spend(Some(jsonb)) = step {
            meta.set(jsonb.bytes(), Error::RedeemMeta)?;
        }
        Ok(Order { head, meta })
    }

    pub fn step(&self) -> Step {
        let revokes = self.head.revokes;
        match self.head.kind {
            Kind::Spend => Step::Spend(None),
            Kind::Redeem => Step::Spend(Some(Jsonb::of_bytes(self.meta.get()).to_static())),
            Kind::Close => Step::Close,
            Kind::Replay => Step::Replay { revokes },
            Kind::Reuse => Step::Reuse { revokes },
            Kind::Revoke => Step::Revoke,
        }
    }
}
