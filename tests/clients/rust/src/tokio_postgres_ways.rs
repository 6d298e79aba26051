use tokio::try_join;
use tokio_postgres::NoTls;
use tokio_postgres::types::ToSql;

use crate::{Answer, WRITE};

pub const WAYS: &[&str] = &[
    "client.query()",
    "query_one()",
    "client.transaction()",
    "query_portal()",
    "first of a pipeline",
    "later in a pipeline",
];

pub async fn take(way: &str, sql: &str, code: &str) -> Answer {
    let (mut client, connection) = tokio_postgres::connect(&std::env::var("DSN")?, NoTls).await?;
    tokio::spawn(connection);
    let parameters: &[&(dyn ToSql + Sync)] = &[&code];
    let row = match way {
        "client.query()" => client.query(sql, parameters).await?.remove(0),
        "query_one()" => client.query_one(sql, parameters).await?,
        "client.transaction()" => {
            let transaction = client.transaction().await?;
            let row = transaction.query_one(sql, parameters).await?;
            transaction.execute(WRITE, &[]).await?;
            transaction.rollback().await?;
            row
        }
        "query_portal()" => {
            let transaction = client.transaction().await?;
            let portal = transaction.bind(sql, parameters).await?;
            transaction.query_portal(&portal, 1).await?.remove(0)
        }
        // Prepared before, so that the two executions go out together.
        _ => {
            let (taking, other) = (
                client.prepare(sql).await?,
                client.prepare("SELECT 1").await?,
            );
            match way {
                "first of a pipeline" => {
                    try_join!(
                        client.query_one(&taking, parameters),
                        client.query_one(&other, &[])
                    )?
                    .0
                }
                _ => {
                    try_join!(
                        client.query_one(&other, &[]),
                        client.query_one(&taking, parameters)
                    )?
                    .1
                }
            }
        }
    };
    Ok((
        row.try_get("status")?,
        row.try_get("data")?,
        row.try_get("expires_at")?,
    ))
}
