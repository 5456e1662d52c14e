-- A sweep is extended and a job is done again: what was true of them once must not
-- be taken for what is true now.

-- The version of the selection that was made from all that the sweep lists; NULL
-- while there is none, and again after the sweep was submitted, cancelled or
-- retried. While it is NULL, tests are sealed.
ALTER TABLE sweeps ADD COLUMN selected_version INTEGER CHECK (selected_version >= 1);
-- How often the sweep was submitted again, cancelled or retried: whoever writes
-- what follows from its results says which of them it has read.
ALTER TABLE sweeps ADD COLUMN revision INTEGER NOT NULL DEFAULT 0 CHECK (revision >= 0);
-- BLAKE3 over the result on record while the job is done again for weights that
-- were dropped; NULL else. Metrics, notes and the other files stay meanwhile.
ALTER TABLE jobs ADD COLUMN recorded_digest TEXT
  CHECK (length(recorded_digest) = 64)
  CHECK (recorded_digest IS NULL OR phase <> 'done');
