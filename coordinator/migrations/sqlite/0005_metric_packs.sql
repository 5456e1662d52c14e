-- A result's metrics once more, in two pieces that are read whole: a sweep of
-- 10,000 runs has millions of rows in `metrics`, and reading them one by one
-- takes longer than everything that is computed from them. Made in the
-- transaction that records the result, never changed; results from before this
-- table have rows alone.
CREATE TABLE metric_packs (
  job_id INTEGER PRIMARY KEY REFERENCES jobs (id),
  -- The metrics of splits that are no test, in the format of pack.rs; NULL if
  -- there are none.
  seen   BLOB,
  -- Those of test splits: not even read while the sweep has no selection.
  sealed BLOB
);
