-- A table that is not as the extension made it is refused, before anything is read as what it is not.
\set VERBOSITY terse
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put('shape', :'grant', 1800000000);
CREATE FUNCTION pg_temp.calls(change text, OUT call text, OUT answer text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
  FOR call IN VALUES ($q$SELECT data ->> 'subject' FROM code_get('shape')$q$), ($q$SELECT status FROM code_take('shape')$q$),
    ($q$SELECT code_put('other', '{"client_id": "c", "subject": "t", "redirect_uri": "r"}', 1)::text$q$),
    ($q$SELECT code_mark_consumed('other')$q$)
  LOOP
    BEGIN
      EXECUTE change;
      EXECUTE call INTO answer;
      RAISE EXCEPTION USING ERRCODE = 'P0099', MESSAGE = format('answered %L', answer);
    EXCEPTION WHEN OTHERS THEN
      answer := CASE SQLSTATE WHEN 'P0099' THEN SQLERRM ELSE SQLSTATE || ' ' || SQLERRM END;
    END;
    RETURN NEXT;
  END LOOP;
END $$;
SELECT change, array_agg(DISTINCT answer) AS answers
FROM (VALUES
  ($$ALTER TABLE authorizations ALTER subject TYPE int USING 1$$),
  ($$ALTER TABLE authorizations ALTER scope TYPE int[] USING '{1}'$$),
  ($$ALTER TABLE authorizations ALTER expires_at TYPE text$$),
  ($$ALTER TABLE authorizations ALTER code_hash TYPE name$$),
  ($$ALTER TABLE authorizations ALTER code_hash TYPE text COLLATE "POSIX"$$),
  ($$ALTER TABLE authorizations DROP COLUMN nonce$$),
  ($$ALTER TABLE authorizations DROP CONSTRAINT authorizations_pkey$$),
  ($$ALTER TABLE authorizations DROP CONSTRAINT authorizations_pkey, ADD PRIMARY KEY (subject)$$),
  ($$ALTER TABLE authorizations DROP CONSTRAINT authorizations_pkey, ADD PRIMARY KEY (code_hash, subject)$$),
  ($$ALTER TABLE authorizations DROP CONSTRAINT authorizations_pkey, ADD PRIMARY KEY (inserted_at, code_hash)$$),
  ($$ALTER TABLE authorizations DROP CONSTRAINT authorizations_pkey, ADD PRIMARY KEY (code_hash) DEFERRABLE$$),
  ($$ALTER TABLE authorizations RENAME TO a$$)) AS changes (change), pg_temp.calls(change)
GROUP BY change ORDER BY change COLLATE "C";
-- What may be added.
SELECT * FROM pg_temp.calls('ALTER TABLE authorizations ADD note int, ADD UNIQUE (family_id)');

-- The functions, declared where there is a partitioned table.
CREATE SCHEMA parts;
CREATE FUNCTION parts.code_get(text) RETURNS TABLE (data jsonb, expires_at bigint) LANGUAGE c AS 'attesto_codes', 'code_get_wrapper';
CREATE TABLE parts.authorizations (LIKE authorizations) PARTITION BY LIST (code_hash);
ALTER TABLE parts.authorizations ADD PRIMARY KEY (code_hash);
SELECT * FROM parts.code_get('shape');
DROP SCHEMA parts CASCADE;
TRUNCATE authorizations;
