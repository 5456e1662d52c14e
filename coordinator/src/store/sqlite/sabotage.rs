//! Ways to break a store, for tests.

use super::SqliteStore;
use super::writer::Effect;

impl SqliteStore {
    /// Makes the database look as if a newer program had upgraded it.
    pub(crate) async fn plant_newer_migration(&self) {
        let plant = "INSERT INTO _sqlx_migrations
                       (version, description, success, checksum, execution_time)
                     VALUES (9999, 'from the future', true, x'00', 0)";
        self.write_raw(plant.to_owned()).await;
    }

    /// Lets the file grow by so many pages and no more, like a full disk; `None`
    /// lifts the limit.
    pub(crate) async fn limit_pages(&self, more: Option<u32>) {
        // A limit below the file's size means its size.
        let limit = more.map_or(u32::MAX - 1, |pages| pages + 1);
        self.write_raw(format!("PRAGMA max_page_count = {limit}"))
            .await;
    }

    /// Makes the database look as if a program before migration 7 had written it, and
    /// every done job had failed or been cancelled when it was done again.
    pub(crate) async fn plant_ended_redo(&self, phase: &str) {
        let failed = phase == "failed";
        let why = ["failure_reason = 'bug'", "failure_message = 'it broke'"].join(", ");
        let why = if failed {
            format!(", {why}")
        } else {
            String::new()
        };
        for statement in [
            "DELETE FROM _sqlx_migrations WHERE version > 6".to_owned(),
            "DROP INDEX jobs_done_again".to_owned(),
            "ALTER TABLE jobs DROP COLUMN recorded_digest".to_owned(),
            "ALTER TABLE jobs ADD COLUMN recorded_digest TEXT
               CHECK (recorded_digest IS NULL OR phase <> 'done')"
                .to_owned(),
            format!(
                "UPDATE jobs SET phase = '{phase}', recorded_digest = result_digest,
                   result_digest = NULL {why}
                 WHERE phase = 'done'"
            ),
        ] {
            self.write_raw(statement).await;
        }
    }

    async fn write_raw(&self, statement: String) {
        let statement = sqlx::AssertSqlSafe(statement);
        self.writer
            .write(Effect::Quiet, move |c| {
                Box::pin(async move { Ok(sqlx::query(statement).execute(c).await.map(drop)?) })
            })
            .await
            .expect("runs");
    }
}
