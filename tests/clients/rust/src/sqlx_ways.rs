use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::{Answer, WRITE};

pub const WAYS: &[&str] = &[
    "fetch_one()",
    "fetch_optional()",
    "fetch_all()",
    "a pool",
    "begin()",
];

pub async fn take(way: &str, sql: &str, code: &str) -> Answer {
    let mut db: PgConnection = PgConnectOptions::new().connect().await?;
    let query = sqlx::query(AssertSqlSafe(sql)).bind(code);
    let row = match way {
        "fetch_one()" => query.fetch_one(&mut db).await?,
        "fetch_optional()" => query.fetch_optional(&mut db).await?.ok_or("no row")?,
        "fetch_all()" => query.fetch_all(&mut db).await?.remove(0),
        "a pool" => {
            query
                .fetch_one(&PgPool::connect_with(PgConnectOptions::new()).await?)
                .await?
        }
        _ => {
            let mut transaction = db.begin().await?;
            let row = query.fetch_one(&mut *transaction).await?;
            sqlx::query(WRITE).execute(&mut *transaction).await?;
            transaction.rollback().await?;
            row
        }
    };
    db.close().await?;
    Ok((
        row.try_get("status")?,
        row.try_get("data")?,
        row.try_get("expires_at")?,
    ))
}
