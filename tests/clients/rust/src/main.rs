//! The ways of tokio-postgres and of sqlx; see ../../ways/orders.py. The argument names the driver.
mod sqlx_ways;
mod tokio_postgres_ways;

use std::any::type_name_of_val;
use std::error::Error;
use std::io::{BufRead, stdin};

use serde_json::Value;

const WRITE: &str = "INSERT INTO undone DEFAULT VALUES";

/// What a way gets: status, grant and expiry.
type Row = (String, Value, i64);
type Answer = Result<Row, Box<dyn Error>>;

fn said_of((status, data, expires_at): Row) -> String {
    let subject = data["subject"].as_str().unwrap_or_default();
    let [expiry, grant] = [type_name_of_val(&expires_at), type_name_of_val(&data)];
    format!(
        "{status}\t{subject}\t{expires_at}\t{expiry}\t{}",
        grant.replace("value::", "")
    )
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_sqlx = std::env::args().nth(1).as_deref() == Some("sqlx");
    let ways = if is_sqlx {
        sqlx_ways::WAYS
    } else {
        tokio_postgres_ways::WAYS
    };
    println!("{}", ways.join("\t"));
    for order in stdin().lock().lines() {
        let order = order?;
        let words: Vec<_> = order.split('\t').collect();
        let [way, sql, codes @ ..] = &words[..] else {
            return Err("an order has a way, a statement and codes".into());
        };
        let answer = match is_sqlx {
            true => sqlx_ways::take(way, sql, codes).await,
            false => tokio_postgres_ways::take(way, sql, codes).await,
        };
        println!(
            "{}",
            answer.map_or_else(|error| error.to_string().replace('\n', " "), said_of)
        );
    }
    Ok(())
}
