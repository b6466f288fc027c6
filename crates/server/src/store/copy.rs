//! All that a store holds, from one into another of either kind. Rows travel as JSON arrays, which both kinds make and read.

use futures_util::TryStreamExt;

use super::connection::{Connection, Statement};

/// How much one statement writes: rows, and bytes of their JSON.
const ROWS_LIMIT: usize = 1_000;
const BYTES_LIMIT: usize = 4 << 20;

/// A table, in which order its rows are read, and its columns; those that hold numbers are marked. What a database numbers itself
/// is not among them.
const TABLES: [(&str, &str, &[Column]); 11] = [
    ("lease", "mac", &[Text("mac"), Text("address"), Number("until_ms")]),
    ("node", "mac", &[Text("mac"), Text("object")]),
    ("line", "id", &[Text("mac"), Number("boot"), Text("object")]),
    ("swarm", "id", &[Number("id"), Text("object")]),
    ("stack", "name", &[Text("name"), Text("object")]),
    ("rollout", "id", &[Number("id"), Text("object")]),
    ("credential", "id", &[Text("id"), Text("object")]),
    ("account", "name", &[Text("name"), Text("object")]),
    ("audit", "id", &[Number("id"), Text("object")]),
    ("user_data", "version", &[Number("version"), Text("mac"), Text("object"), Text("text")]),
    ("event", "id", &[Number("id"), Text("object")]),
];

use Column::{Number, Text};

/// A column's name, by what it holds.
enum Column {
    Text(&'static str),
    Number(&'static str),
}

impl Column {
    fn name(&self) -> &'static str {
        match self {
            Text(name) | Number(name) => name,
        }
    }
}

/// Whether a store holds nothing at all.
pub(super) async fn is_empty(store: &mut Connection) -> sqlx::Result<bool> {
    let counts =
        TABLES.map(|(table, ..)| format!("(SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1) AS one)"));
    Ok(store.number(format!("SELECT {}", counts.join(" + "))).await? == 0)
}

/// How many nodes a store knows.
pub(super) async fn count_nodes(store: &mut Connection) -> sqlx::Result<u64> {
    Ok(store.number("SELECT count(*) FROM node").await?.cast_unsigned())
}

/// Copies everything into an empty store: all of it, or nothing.
pub(super) async fn copy(from: &mut Connection, to: &mut Connection) -> sqlx::Result<()> {
    to.run("BEGIN").await?;
    for (table, order, columns) in &TABLES {
        let names: Vec<_> = columns.iter().map(Column::name).collect();
        let row = from.dialect().array_of(&names.join(", "));
        let mut rows = from.texts(format!("SELECT {row} FROM {table} ORDER BY {order}"));
        let insert = insert(table, columns, to);
        let (mut array, mut count) = (String::new(), 0);
        while let Some(row) = rows.try_next().await? {
            array += if count == 0 { "[" } else { "," };
            array += &row;
            count += 1;
            if count == ROWS_LIMIT || array.len() >= BYTES_LIMIT {
                to.execute(&Statement::new(&insert).text(std::mem::take(&mut array) + "]")).await?;
                count = 0;
            }
        }
        if count > 0 {
            to.execute(&Statement::new(&insert).text(array + "]")).await?;
        }
    }
    to.run("COMMIT").await
}

fn insert(table: &str, columns: &[Column], to: &Connection) -> String {
    let names: Vec<_> = columns.iter().map(Column::name).collect();
    let values = columns.iter().enumerate().map(|(place, column)| match column {
        Text(_) => format!("value ->> {place}"),
        Number(_) => format!("CAST(value ->> {place} AS BIGINT)"),
    });
    let values: Vec<_> = values.collect();
    let source = to.dialect().rows_of_array();
    format!("INSERT INTO {table} ({}) SELECT {} FROM {source}", names.join(", "), values.join(", "))
}
