-- A run that is done again for weights that were dropped has its result: where the
-- new training was cancelled or failed, the run is done as before. Before this
-- migration it stood as cancelled or failed, and was trained in full when a sweep
-- with it was submitted again, though nothing needed its weights.

UPDATE jobs SET phase = 'done', result_digest = recorded_digest, recorded_digest = NULL,
  step = steps, failure_reason = NULL, failure_message = NULL,
  checkpoint_step = NULL, checkpoint_digest = NULL, checkpoint_bytes = NULL,
  checkpoint_attempt = NULL, before_step = NULL, before_digest = NULL, before_bytes = NULL
WHERE recorded_digest IS NOT NULL AND phase IN ('failed', 'cancelled');

-- From here on the database holds this. A column's CHECK changes with the column.
CREATE TABLE done_again AS SELECT id, recorded_digest FROM jobs
WHERE recorded_digest IS NOT NULL;
ALTER TABLE jobs DROP COLUMN recorded_digest;
-- BLAKE3 over the result on record while the job is done again for weights that
-- were dropped; NULL else. Metrics, notes and the other files stay meanwhile.
ALTER TABLE jobs ADD COLUMN recorded_digest TEXT
  CHECK (length(recorded_digest) = 64)
  CHECK (recorded_digest IS NULL OR phase IN ('blocked', 'pending', 'running'));
UPDATE jobs SET recorded_digest = (SELECT recorded_digest FROM done_again d WHERE d.id = jobs.id)
WHERE id IN (SELECT id FROM done_again);
DROP TABLE done_again;
-- Asked at every submission, cancellation and failure; hardly ever there are any.
CREATE INDEX jobs_done_again ON jobs (id) WHERE recorded_digest IS NOT NULL;
