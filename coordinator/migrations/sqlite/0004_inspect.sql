-- The questions that a sweep asks of its networks are listed when its selection
-- is on record. Whoever comes back after a crash must see that they still have to be.

-- Whether the sweep file asks any.
ALTER TABLE sweeps ADD COLUMN inspects INTEGER NOT NULL DEFAULT 0 CHECK (inspects IN (0, 1));
-- The version of the selection from which the sweep's list of inspect jobs was
-- made (0: nothing is done that could be inspected); NULL while there is none, and
-- again after the sweep was submitted or retried.
ALTER TABLE sweeps ADD COLUMN inspected_version INTEGER CHECK (inspected_version >= 0);
