-- The coordinator's memory. Conventions: moments are microseconds since 1970 in
-- UTC and end in _us; keys and digests are 64 lower-case hexadecimal digits;
-- sizes are bytes. Small integer ids exist inside this database only; outside,
-- a job is named by its key and a sweep by its UUID. Booleans are 0 or 1.

-- A submitted sweep.
CREATE TABLE sweeps (
  -- Rises with the order of first submission, which is the order of work.
  id           INTEGER PRIMARY KEY,
  -- UUIDv7, the name for the outside.
  uuid         TEXT NOT NULL UNIQUE,
  -- From the sweep file; submitting the same name again replaces the text.
  name         TEXT NOT NULL UNIQUE CHECK (name <> ''),
  -- The sweep file's text, as it was last submitted.
  yaml         TEXT NOT NULL,
  -- First submission.
  created_us   BIGINT NOT NULL,
  -- Last submission.
  updated_us   BIGINT NOT NULL,
  -- When a person cancelled it; NULL once it is submitted or retried again.
  cancelled_us BIGINT
);

-- The files that a sweep names: they are kept while it does.
CREATE TABLE sweep_files (
  sweep_id   INTEGER NOT NULL REFERENCES sweeps (id),
  -- The path as it stands in the sweep file.
  path       TEXT NOT NULL,
  -- The blob with its bytes.
  digest     TEXT NOT NULL CHECK (length(digest) = 64),
  size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
  PRIMARY KEY (sweep_id, path)
);
CREATE INDEX sweep_files_by_digest ON sweep_files (digest);

-- A worker process that registered.
CREATE TABLE workers (
  id            INTEGER PRIMARY KEY,
  -- UUIDv7, made by the worker at its start.
  uuid          TEXT NOT NULL UNIQUE,
  host          TEXT NOT NULL,
  -- Process id on its host.
  pid           BIGINT NOT NULL,
  -- Program version.
  version       TEXT NOT NULL,
  -- Free-form name for people; may be empty.
  label         TEXT NOT NULL,
  -- JSON: device, ops, dtypes, cpu_fingerprint, threads, hub.
  capability    TEXT NOT NULL,
  registered_us BIGINT NOT NULL,
  -- When it was last heard of.
  seen_us       BIGINT NOT NULL
);

-- One unit of work. Its spec stands in job_specs, so that counting stays quick.
CREATE TABLE jobs (
  id               INTEGER PRIMARY KEY,
  -- BLAKE3 of the canonical JSON of the spec: equal work has an equal key.
  key              TEXT NOT NULL UNIQUE CHECK (length(key) = 64),
  -- 'pretrain', 'train', 'inspect'.
  kind             TEXT NOT NULL,
  -- What it demands of its worker: 'cpu/fused/f32', 'hub'.
  requires         TEXT NOT NULL,
  -- Optimizer steps in all.
  steps            BIGINT NOT NULL CHECK (steps >= 0),
  created_us       BIGINT NOT NULL,
  phase            TEXT NOT NULL CHECK (phase IN
                     ('blocked', 'pending', 'running', 'done', 'failed', 'cancelled')),

  -- Its place in the queue: the first sweep that lists it, and its ordinal
  -- there. NULL when no sweep lists it: then it is not handed out.
  queue_sweep      INTEGER,
  queue_ordinal    BIGINT,
  -- Not handed out before this moment (delay after a failure outside).
  not_before_us    BIGINT NOT NULL DEFAULT 0,

  -- Attempts that were begun.
  attempts         INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Attempts up to this one don't count for the retry budget any more.
  budget_from      INTEGER NOT NULL DEFAULT 0,

  -- UUIDv7 of the running attempt; whoever can name it holds the job.
  lease_token      TEXT UNIQUE,
  -- When the lease expires unless it is renewed.
  lease_expires_us BIGINT,
  -- The worker that holds it.
  worker_id        INTEGER REFERENCES workers (id),

  -- Optimizer steps done in the running attempt.
  step             BIGINT NOT NULL DEFAULT 0 CHECK (step >= 0),
  -- When step last moved, or the attempt began.
  progressed_us    BIGINT,
  -- Over the last heartbeat; 0 while nothing was measured.
  steps_per_sec    DOUBLE PRECISION NOT NULL DEFAULT 0,
  -- The latest validation metric, for people; NULL if there is none.
  live_metric      TEXT,
  live_value       DOUBLE PRECISION,

  -- The last checkpoint of any attempt; all NULL if there is none.
  checkpoint_step   BIGINT,
  checkpoint_digest TEXT CHECK (length(checkpoint_digest) = 64),
  checkpoint_bytes  BIGINT,

  -- BLAKE3 over the result on record.
  result_digest    TEXT CHECK (length(result_digest) = 64),
  finished_us      BIGINT,
  -- Why it failed for good.
  failure_reason   TEXT CHECK (failure_reason IN
                     ('preempted', 'lost', 'out_of_memory', 'non_finite', 'invalid', 'bug',
                      'environment')),
  -- One paragraph for people.
  failure_message  TEXT,

  CHECK ((phase = 'running') = (lease_token IS NOT NULL)),
  CHECK ((phase = 'running') = (lease_expires_us IS NOT NULL)),
  CHECK ((phase = 'running') = (worker_id IS NOT NULL)),
  CHECK ((phase = 'running') = (progressed_us IS NOT NULL)),
  CHECK ((phase = 'done') = (result_digest IS NOT NULL)),
  CHECK ((phase = 'failed') = (failure_reason IS NOT NULL)),
  CHECK ((phase = 'failed') = (failure_message IS NOT NULL)),
  CHECK ((phase IN ('done', 'failed', 'cancelled')) = (finished_us IS NOT NULL)),
  CHECK ((queue_sweep IS NULL) = (queue_ordinal IS NULL)),
  CHECK ((checkpoint_step IS NULL) = (checkpoint_digest IS NULL)),
  CHECK ((checkpoint_step IS NULL) = (checkpoint_bytes IS NULL)),
  CHECK (phase <> 'running' OR attempts > 0),
  CHECK (budget_from <= attempts)
);
-- The queue: one walk per kind of demand, in order.
CREATE INDEX jobs_queue ON jobs (requires, queue_sweep, queue_ordinal)
  WHERE phase = 'pending';
CREATE INDEX jobs_by_expiry ON jobs (lease_expires_us) WHERE phase = 'running';
CREATE INDEX jobs_by_queue_sweep ON jobs (queue_sweep);
CREATE INDEX jobs_by_checkpoint ON jobs (checkpoint_digest)
  WHERE checkpoint_digest IS NOT NULL;

-- What a job is.
CREATE TABLE job_specs (
  job_id INTEGER PRIMARY KEY REFERENCES jobs (id),
  -- Canonical JSON; its BLAKE3 is the job's key.
  spec   TEXT NOT NULL
);

-- Which jobs need the results of which others.
CREATE TABLE job_inputs (
  job_id   INTEGER NOT NULL REFERENCES jobs (id),
  -- The job whose result is needed.
  input_id INTEGER NOT NULL REFERENCES jobs (id),
  PRIMARY KEY (job_id, input_id),
  CHECK (job_id <> input_id)
);
CREATE INDEX job_inputs_by_input ON job_inputs (input_id, job_id);

-- Which sweeps list which jobs, in which order.
CREATE TABLE sweep_jobs (
  sweep_id INTEGER NOT NULL REFERENCES sweeps (id),
  -- Position in the sweep: whole seeds first.
  ordinal  BIGINT NOT NULL CHECK (ordinal >= 0),
  job_id   INTEGER NOT NULL REFERENCES jobs (id),
  -- JSON object, axis to value; NULL for a job that only serves others.
  point    TEXT,
  -- For people.
  title    TEXT NOT NULL,
  PRIMARY KEY (sweep_id, ordinal)
);
CREATE INDEX sweep_jobs_by_job ON sweep_jobs (job_id, sweep_id);

-- Jobs whose weights a sweep has no use for (its selection took others). The
-- weights go when no sweep that lists the job has a use for them.
CREATE TABLE unwanted_weights (
  sweep_id INTEGER NOT NULL REFERENCES sweeps (id),
  job_id   INTEGER NOT NULL REFERENCES jobs (id),
  PRIMARY KEY (sweep_id, job_id)
);

-- Every attempt at every job.
CREATE TABLE attempts (
  job_id     INTEGER NOT NULL REFERENCES jobs (id),
  -- 1 for the first.
  attempt    INTEGER NOT NULL CHECK (attempt >= 1),
  -- The lease that it was made under.
  token      TEXT NOT NULL UNIQUE,
  worker_id  INTEGER NOT NULL REFERENCES workers (id),
  started_us BIGINT NOT NULL,
  ended_us   BIGINT,
  -- 'running', 'done', 'released', 'cancelled', or a failure reason.
  outcome    TEXT NOT NULL,
  -- What the worker said of a failure.
  message    TEXT NOT NULL DEFAULT '',
  -- JSON: version, host, device, cpu_fingerprint, threads, wall_secs,
  -- resumed_from_step; NULL if the worker never told.
  provenance TEXT,
  PRIMARY KEY (job_id, attempt),
  CHECK ((outcome = 'running') = (ended_us IS NULL))
);

-- The measured numbers of a job's result, one a row.
CREATE TABLE metrics (
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  -- 'train', 'val', 'test_iid' …
  split  TEXT NOT NULL,
  -- Optimizer steps done when it was measured.
  step   BIGINT NOT NULL CHECK (step >= 0),
  -- Block; -1 where the metric belongs to none (a key column can't be NULL).
  layer  INTEGER NOT NULL CHECK (layer >= -1),
  -- Attention head; -1 where the metric belongs to none.
  head   INTEGER NOT NULL CHECK (head >= -1),
  -- Prompt slot or stratum; '' where the metric belongs to none.
  slot   TEXT NOT NULL,
  -- 'incongruent_accuracy', 'loss' …
  name   TEXT NOT NULL,
  -- Position in the result: the order in which they were measured.
  seq    INTEGER NOT NULL,
  -- NULL: not available (NaN).
  value  DOUBLE PRECISION,
  PRIMARY KEY (job_id, split, step, name, layer, head, slot)
) WITHOUT ROWID;

-- The stored files of a job's result.
CREATE TABLE artifacts (
  job_id     INTEGER NOT NULL REFERENCES jobs (id),
  -- Name within the job: 'model.safetensors'.
  name       TEXT NOT NULL,
  -- The blob with its bytes.
  digest     TEXT NOT NULL CHECK (length(digest) = 64),
  size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
  PRIMARY KEY (job_id, name)
);
CREATE INDEX artifacts_by_digest ON artifacts (digest);

-- Results that contradict the one on record: kept, shown, never taken over.
CREATE TABLE diverged (
  job_id        INTEGER NOT NULL REFERENCES jobs (id),
  -- BLAKE3 over this result.
  result_digest TEXT NOT NULL CHECK (length(result_digest) = 64),
  -- The attempt that brought it.
  attempt       INTEGER NOT NULL,
  received_us   BIGINT NOT NULL,
  -- JSON: metrics and artifacts.
  result        TEXT NOT NULL,
  -- JSON, as in attempts.
  provenance    TEXT NOT NULL,
  PRIMARY KEY (job_id, result_digest)
);

-- Which value of the selected axis won, on validation alone. Never changed: an
-- extended sweep makes a new version.
CREATE TABLE selections (
  sweep_id   INTEGER NOT NULL REFERENCES sweeps (id),
  -- 1, 2 …
  version    INTEGER NOT NULL CHECK (version >= 1),
  created_us BIGINT NOT NULL,
  -- JSON: version, axis, by, choices.
  selection  TEXT NOT NULL,
  PRIMARY KEY (sweep_id, version)
);

-- Files by content. A row stands here before its bytes do and after they went.
CREATE TABLE blobs (
  -- BLAKE3 of the bytes.
  digest     TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
  size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
  created_us BIGINT NOT NULL,
  -- When somebody last uploaded it or asked for it.
  touched_us BIGINT NOT NULL,
  -- 'coming': announced; 'stored': its bytes are on disk; 'doomed': its bytes
  -- are being deleted.
  state      TEXT NOT NULL CHECK (state IN ('coming', 'stored', 'doomed'))
);
CREATE INDEX blobs_doomed ON blobs (digest) WHERE state = 'doomed';
