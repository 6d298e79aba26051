use tokio::try_join;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls, Row};

use crate::{Answer, WRITE};

pub const WAYS: &[&str] = &[
    "client.query()",
    "query_one()",
    "a prepared statement",
    "client.transaction()",
    "query_portal()",
    "first of a pipeline",
    "later in a pipeline",
];

/// On one connection; the answer to the last of the codes.
pub async fn take(way: &str, sql: &str, codes: &[&str]) -> Answer {
    let (mut client, connection) = tokio_postgres::connect(&std::env::var("DSN")?, NoTls).await?;
    tokio::spawn(connection);
    let mut last = None;
    for code in codes {
        last = Some(row(&mut client, way, sql, code).await?);
    }
    let row = last.ok_or("no code")?;
    Ok((
        row.try_get("status")?,
        row.try_get("data")?,
        row.try_get("expires_at")?,
    ))
}

async fn row(client: &mut Client, way: &str, sql: &str, code: &str) -> Result<Row, Error> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&code];
    match way {
        "client.query()" => Ok(client.query(sql, parameters).await?.remove(0)),
        "query_one()" => client.query_one(sql, parameters).await,
        "client.transaction()" => {
            let transaction = client.transaction().await?;
            let row = transaction.query_one(sql, parameters).await?;
            transaction.execute(WRITE, &[]).await?;
            transaction.rollback().await?;
            Ok(row)
        }
        "query_portal()" => {
            let transaction = client.transaction().await?;
            let portal = transaction.bind(sql, parameters).await?;
            Ok(transaction.query_portal(&portal, 1).await?.remove(0))
        }
        _ => {
            let taking = client.prepare(sql).await?;
            let other = client.prepare("SELECT 1").await?;
            let taken = client.query_one(&taking, parameters);
            let other = client.query_one(&other, &[]);
            match way {
                "first of a pipeline" => Ok(try_join!(taken, other)?.0),
                "later in a pipeline" => Ok(try_join!(other, taken)?.1),
                _ => taken.await,
            }
        }
    }
}
