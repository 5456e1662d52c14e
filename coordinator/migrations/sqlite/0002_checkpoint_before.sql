-- A damaged checkpoint must cost one interval, not the whole run: the one before
-- it is kept too.

-- The attempt that made the last checkpoint; NULL if there is none, or if it is
-- older than this column.
ALTER TABLE jobs ADD COLUMN checkpoint_attempt BIGINT;
-- The checkpoint before the last one; all NULL if there is none.
ALTER TABLE jobs ADD COLUMN before_step BIGINT;
ALTER TABLE jobs ADD COLUMN before_digest TEXT
  CHECK (length(before_digest) = 64)
  CHECK ((before_step IS NULL) = (before_digest IS NULL));
ALTER TABLE jobs ADD COLUMN before_bytes BIGINT
  CHECK ((before_step IS NULL) = (before_bytes IS NULL));
CREATE INDEX jobs_by_before ON jobs (before_digest)
  WHERE before_digest IS NOT NULL;
