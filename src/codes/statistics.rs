//! Counts the contents of the tables, at a cost that does not grow with them.
//!
//! The states of codes are counted in BLOCKS blocks of the table and scaled up. These are always
//! the same blocks, so that they stay in memory. A table of BLOCKS blocks or fewer is counted as a
//! whole.

use super::sweep::due::{self, Due};
use crate::error::Error;
use crate::pg::backend::now;
use crate::settings::REUSE_RETENTION;
use crate::table::{Access, Code, Columns, Family, Table};
use pgrx::{Spi, pg_sys, spi};

/// How many blocks of a table are read: 32 MB.
const BLOCKS: u32 = 4096;

/// Codes that wait for a sweep are counted one by one up to this number, since a sample would miss
/// them where they are few.
const WAITING: i64 = 100_000;

pub struct Statistics {
    /// Codes in each state, whether they have expired or not.
    pub live: i64,
    pub spent: i64,
    pub redeemed: i64,
    /// Expired codes that the next sweep removes, or retains as evidence.
    pub due: i64,
    /// How long the first of them has been due, in seconds.
    pub oldest_due_age: Option<f64>,
    pub families_revoked: i64,
    /// Whether the counts are estimates.
    pub sampled: bool,
}

/// Reads the statistics with the rights of the function's owner.
pub fn read(function: pg_sys::FunctionCallInfo) -> Result<Statistics, Error> {
    let due = Due::now(REUSE_RETENTION.get());
    let waiting = Table::with(function, Access::Read, |codes: &Table<Code>| {
        due::waiting(codes, due, WAITING)
    })?;
    let codes = sample::<Code>(function)?;
    let revoked = sample::<Family>(function)?;
    let counts = codes.count(
        "count(*) FILTER (WHERE consumed_at IS NULL),
         count(*) FILTER (WHERE consumed_at IS NOT NULL AND NOT consumed_success),
         count(*) FILTER (WHERE consumed_success),
         count(*) FILTER (WHERE CASE WHEN retain_from IS NULL THEN expires_at < $1 AND (consumed_success OR consumed_at IS NULL OR consumed_at <= $3) ELSE retain_from < $2 END)",
        due,
    );
    let [live, spent, redeemed, sampled_due] = counts.map_err(|_| Error::Damaged)?;
    let families: [i64; 1] = revoked.count("count(*)", due).map_err(|_| Error::Damaged)?;
    Ok(Statistics {
        live,
        spent,
        redeemed,
        due: match waiting.is_all {
            true => waiting.number,
            false => sampled_due.max(waiting.number),
        },
        oldest_due_age: waiting.since.map(|since| (now() - since) as f64 / 1e6),
        families_revoked: families[0],
        sampled: codes.share < 1.0 || revoked.share < 1.0,
    })
}

/// A part of a table.
struct Sample {
    /// Its qualified name.
    table: String,
    /// The share of the blocks that are read, from 0 to 1.
    share: f64,
}

fn sample<C: Columns>(function: pg_sys::FunctionCallInfo) -> Result<Sample, Error> {
    Table::with(function, Access::Read, |table: &Table<C>| {
        Ok(Sample {
            table: table.name(),
            share: f64::from(BLOCKS) / f64::from(table.blocks().max(BLOCKS)),
        })
    })
}

impl Sample {
    /// Aggregates over the sample, scaled to the whole table.
    fn count<const N: usize>(&self, aggregates: &str, due: Due) -> spi::Result<[i64; N]> {
        let (table, percent) = (&self.table, self.share * 100.0);
        let query = format!(
            "SELECT {aggregates} FROM {table} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (0)"
        );
        Spi::connect(|client| {
            let row = client.select(&query, Some(1), &due.arguments())?.first();
            let mut counts = [0; N];
            for (at, count) in counts.iter_mut().enumerate() {
                let sampled = row.get::<i64>(at + 1)?.unwrap_or(0);
                *count = (sampled as f64 / self.share).round() as i64;
            }
            Ok(counts)
        })
    }
}
