-- What a result does not hold must be said with its reason, never left out in
-- silence.

-- A thing that could be expected of a job's result and is not there.
CREATE TABLE notes (
  job_id INTEGER NOT NULL REFERENCES jobs (id),
  -- Position in the result: the order in which it was found.
  seq    INTEGER NOT NULL CHECK (seq >= 0),
  -- 'test_range_far': a split, or a split and a metric.
  place  TEXT NOT NULL CHECK (place <> ''),
  -- Why, in words for people.
  reason TEXT NOT NULL CHECK (reason <> ''),
  PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;
