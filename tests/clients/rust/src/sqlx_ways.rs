use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{Connection, Error, Row};

use crate::{Answer, WRITE};

pub const WAYS: &[&str] = &[
    "fetch_one()",
    "fetch_optional()",
    "fetch_all()",
    "a pool",
    "begin()",
];

/// On one connection; the answer to the last of the codes.
pub async fn take(way: &str, sql: &str, codes: &[&str]) -> Answer {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect("postgres://")
        .await?;
    let mut last = None;
    for code in codes {
        last = Some(match way {
            "a pool" => of_pool(&pool, sql, code).await?,
            _ => row(&mut *pool.acquire().await?, way, sql, code).await?,
        });
    }
    pool.close().await;
    let row = last.ok_or("no code")?;
    Ok((
        row.try_get("status")?,
        row.try_get("data")?,
        row.try_get("expires_at")?,
    ))
}

async fn of_pool(pool: &PgPool, sql: &str, code: &str) -> Result<PgRow, Error> {
    sqlx::query(sql).bind(code).fetch_one(pool).await
}

async fn row(db: &mut PgConnection, way: &str, sql: &str, code: &str) -> Result<PgRow, Error> {
    let query = sqlx::query(sql).bind(code);
    match way {
        "fetch_one()" => query.fetch_one(db).await,
        "fetch_optional()" => query.fetch_optional(db).await?.ok_or(Error::RowNotFound),
        "fetch_all()" => Ok(query.fetch_all(db).await?.remove(0)),
        _ => {
            let mut transaction = db.begin().await?;
            let row = query.fetch_one(&mut *transaction).await?;
            sqlx::query(WRITE).execute(&mut *transaction).await?;
            transaction.rollback().await?;
            Ok(row)
        }
    }
}
