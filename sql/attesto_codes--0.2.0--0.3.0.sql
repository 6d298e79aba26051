-- 0.3.0: room for the next versions of a row in its page. Pages that are full already get it as their codes
-- are swept.
ALTER TABLE @extschema@.authorizations SET (fillfactor = 90);

COMMENT ON COLUMN @extschema@.authorizations.consumed_meta IS
  'What the first code_mark_consumed was told, NULL for an empty object. A reuse gets it back, over family_id and subject.';
