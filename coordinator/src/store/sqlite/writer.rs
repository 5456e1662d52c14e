//! The one writer, with group commit.
//!
//! SQLite takes one writer at a time, and a durable commit costs one sync of the
//! disk. So all writes go through one task, which puts whatever is waiting into
//! one transaction: with many workers the sync is shared, with one nothing is
//! delayed. Nobody gets an answer before the commit.
//!
//! An operation that is refused (a stale lease) is undone alone, by a savepoint.
//! When the database itself fails, SQLite may have rolled back the whole
//! transaction, so every operation of the batch gets that error.

use futures::future::BoxFuture;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::StoreError;

/// Operations that share a commit at most: bounds how long a reader's snapshot
/// is held back and how much one failure takes with it.
const BATCH_MAX: usize = 256;

/// Operations that may wait; whoever comes then waits for a place.
const QUEUE_MAX: usize = 1024;

/// Whether an operation may make jobs ready or settle them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Whoever waits for jobs should look again.
    Jobs,
    /// Nobody waits for this.
    Quiet,
}

/// The writing end of the store.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    changes: watch::Receiver<u64>,
}

enum Message {
    Write(Box<dyn Operation>),
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Takes over the connection that writes.
    pub(super) fn start(conn: SqliteConnection) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (changed, changes) = watch::channel(0);
        tokio::spawn(run(conn, waiting, changed));
        Self { queue, changes }
    }

    /// Runs an operation in a transaction and answers when it is on disk.
    pub(super) async fn write<T, F>(&self, effect: Effect, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call {
            effect,
            body: Some(body),
            outcome: None,
            reply,
        };
        let message = Message::Write(Box::new(call));
        if self.queue.send(message).await.is_err() {
            return Err(StoreError::Closed);
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Moves when an operation of [`Effect::Jobs`] was committed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Waits for what is queued, then closes the connection.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Message::Close(reply)).await.is_ok() {
            // An error means that the task has ended already.
            answer.await.ok();
        }
    }
}

/// An operation whose answer has any type.
trait Operation: Send {
    fn effect(&self) -> Effect;
    /// Runs it; the error is kept for the reply, too.
    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, Option<Failure>>;
    /// Sends the outcome, or the error that took the whole batch.
    fn reply(self: Box<Self>, batch: Result<(), StoreError>);
}

/// How far an operation's failure reaches.
enum Failure {
    Refused,
    Database(StoreError),
}

struct Call<T, F> {
    effect: Effect,
    body: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send,
{
    fn effect(&self) -> Effect {
        self.effect
    }

    fn run<'a>(&'a mut self, conn: &'a mut SqliteConnection) -> BoxFuture<'a, Option<Failure>> {
        Box::pin(async move {
            let body = self.body.take()?;
            let outcome = body(conn).await;
            let failure = match &outcome {
                Ok(_) => None,
                Err(
                    error @ (StoreError::Database(_)
                    | StoreError::Busy(_)
                    | StoreError::DiskFull(_)),
                ) => Some(Failure::Database(error.clone())),
                Err(_) => Some(Failure::Refused),
            };
            self.outcome = Some(outcome);
            failure
        })
    }

    fn reply(self: Box<Self>, batch: Result<(), StoreError>) {
        let outcome = match batch {
            Ok(()) => self.outcome.unwrap_or(Err(StoreError::Closed)),
            Err(error) => Err(error),
        };
        // Whoever asked may have gone; what was written stays.
        self.reply.send(outcome).ok();
    }
}

async fn run(
    mut conn: SqliteConnection,
    mut waiting: mpsc::Receiver<Message>,
    changed: watch::Sender<u64>,
) {
    let mut closing = None;
    while closing.is_none() {
        let mut batch = vec![];
        let Some(first) = waiting.recv().await else {
            break;
        };
        let mut message = Some(first);
        while let Some(taken) = message {
            match taken {
                Message::Write(operation) => batch.push(operation),
                Message::Close(reply) => closing = Some(reply),
            }
            let full = batch.len() == BATCH_MAX || closing.is_some();
            message = if full { None } else { waiting.try_recv().ok() };
        }
        if batch.is_empty() {
            continue;
        }
        let outcome = commit(&mut conn, &mut batch).await;
        let notify = outcome.is_ok() && batch.iter().any(|op| op.effect() == Effect::Jobs);
        for operation in batch {
            operation.reply(outcome.clone());
        }
        if notify {
            changed.send_modify(|revision| *revision += 1);
        }
    }
    if let Err(error) = conn.close().await {
        tracing::warn!(%error, "the database was not closed cleanly; its log is read at the next start");
    }
    if let Some(reply) = closing {
        reply.send(()).ok();
    }
}

async fn commit(
    conn: &mut SqliteConnection,
    batch: &mut [Box<dyn Operation>],
) -> Result<(), StoreError> {
    let outcome = transact(conn, batch).await;
    if outcome.is_err() {
        // An error here says that SQLite has rolled back already.
        sqlx::query("ROLLBACK").execute(conn).await.ok();
    }
    outcome
}

async fn transact(
    conn: &mut SqliteConnection,
    batch: &mut [Box<dyn Operation>],
) -> Result<(), StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
    for operation in batch {
        sqlx::query("SAVEPOINT op").execute(&mut *conn).await?;
        match operation.run(conn).await {
            None => {}
            Some(Failure::Refused) => {
                sqlx::query("ROLLBACK TO op").execute(&mut *conn).await?;
            }
            Some(Failure::Database(error)) => return Err(error),
        }
        sqlx::query("RELEASE op").execute(&mut *conn).await?;
    }
    sqlx::query("COMMIT").execute(&mut *conn).await?;
    Ok(())
}
