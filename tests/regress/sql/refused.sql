-- What no write could honour is refused by each call that writes to the table, before anything is written. What only reads answers, and all is well when it is gone.
CREATE EXTENSION dblink;
SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user))
FROM unnest('{usual,of a run}'::text[]) name;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE TABLE obstacles (n int GENERATED ALWAYS AS IDENTITY, name text, make text, undo text);
INSERT INTO obstacles (name, make, undo) VALUES
  ('column', 'ALTER TABLE t ADD COLUMN note text', 'ALTER TABLE t DROP COLUMN note'),
  ('column with a default', 'ALTER TABLE t ADD COLUMN note timestamptz NOT NULL DEFAULT now()', 'ALTER TABLE t DROP COLUMN note'),
  ('generated column', 'ALTER TABLE t ADD COLUMN note text GENERATED ALWAYS AS (''n'') STORED', 'ALTER TABLE t DROP COLUMN note'),
  ('rule for INSERT', 'CREATE RULE r AS ON INSERT TO t DO ALSO NOTHING', 'DROP RULE r ON t'),
  ('rule for UPDATE', 'CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING', 'DROP RULE r ON t'),
  ('rule for DELETE', 'CREATE RULE r AS ON DELETE TO t WHERE false DO INSTEAD NOTHING', 'DROP RULE r ON t'),
  ('forced row security', 'ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', 'ALTER TABLE t DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY'),
  ('parent', 'CREATE TABLE heir () INHERITS (t)', 'DROP TABLE heir'),
  ('child', 'CREATE TABLE ancestor (LIKE t); ALTER TABLE t INHERIT ancestor', 'ALTER TABLE t NO INHERIT ancestor; DROP TABLE ancestor'),
  ('partition', 'CREATE TABLE whole (LIKE t) PARTITION BY LIST (k); ALTER TABLE whole ATTACH PARTITION t DEFAULT', 'ALTER TABLE whole DETACH PARTITION t; DROP TABLE whole'),
  ('partitioned', 'ALTER TABLE t RENAME TO kept; CREATE TABLE t (LIKE kept) PARTITION BY LIST (k); ALTER TABLE t ADD PRIMARY KEY (k)', 'DROP TABLE t; ALTER TABLE kept RENAME TO t'),
  ('foreign table', 'ALTER TABLE t RENAME TO kept; CREATE FOREIGN TABLE t (k text) SERVER nowhere', 'DROP FOREIGN TABLE t; ALTER TABLE kept RENAME TO t'),
  -- These are none.
  ('row security', 'ALTER TABLE t ENABLE ROW LEVEL SECURITY', 'ALTER TABLE t DISABLE ROW LEVEL SECURITY'),
  ('row security forced when it is enabled', 'ALTER TABLE t FORCE ROW LEVEL SECURITY', 'ALTER TABLE t NO FORCE ROW LEVEL SECURITY'),
  ('column that is gone', 'ALTER TABLE t ADD COLUMN note text; ALTER TABLE t DROP COLUMN note', ''),
  ('nothing', '', '');
CREATE TABLE calls (n int GENERATED ALWAYS AS IDENTITY, name text, connection text DEFAULT 'usual', call text);
INSERT INTO calls (name, call) VALUES
  ('put', $$SELECT code_put('new', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)::text$$),
  ('take', $$SELECT status FROM code_take('alone')$$), ('take inside', $$SELECT status FROM code_take('inside')$$), ('replay', $$SELECT status FROM code_take('spent')$$),
  ('mark', $$SELECT code_mark_consumed('spent')$$), ('record', $$SELECT code_record_access_token('f', 'new', 4102444800)::text$$), ('revoke', $$SELECT code_revoke_family('f')::text$$),
  ('sweep', $$SELECT code_sweep()::text$$), ('get', $$SELECT expires_at::text FROM code_get('live')$$), ('revoked', $$SELECT code_access_token_revoked('revoked')::text$$),
  ('family revoked', $$SELECT code_family_revoked('g')::text$$), ('inspect', $$SELECT status FROM code_inspect('live')$$);
INSERT INTO calls (name, connection, call) VALUES ('put of a run', 'of a run', $$SELECT code_put('of a run', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)::text$$);
SELECT dblink_exec('of a run', 'SET attesto_codes.codes_survive_crash = off');

CREATE FUNCTION answer(calls, OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
  IF $1.name LIKE '% inside' THEN PERFORM dblink_exec('usual', 'BEGIN'); END IF;
  SELECT a INTO message FROM dblink($1.connection, $1.call) r(a text);
  IF $1.name LIKE '% inside' THEN PERFORM dblink_exec('usual', 'ROLLBACK'); END IF;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  IF $1.name LIKE '% inside' THEN PERFORM dblink_exec('usual', 'ROLLBACK'); END IF;
END $$;
-- What is stored, also while something else is in a table's place.
CREATE FUNCTION state(hidden text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE name text; rows jsonb; state text := '';
BEGIN
  FOREACH name IN ARRAY '{authorizations,authorization_access_tokens,authorization_revoked_families,authorization_runs}'::text[] LOOP
    IF name = hidden AND to_regclass('kept') IS NOT NULL THEN name := 'kept'; END IF;
    EXECUTE format('SELECT jsonb_agg(r ORDER BY r) FROM (SELECT to_jsonb(t) AS r FROM ONLY %I t) rows', name) INTO rows;
    state := concat(state, rows);
  END LOOP;
  RETURN state;
END $$;
-- Empties and fills the tables by the very calls.
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
  TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
  COMMIT;
  PERFORM dblink_exec('usual', format('DO $d$BEGIN PERFORM code_put(h, %L, CASE h WHEN ''due'' THEN 1 ELSE 4102444800 END) FROM unnest(%L::text[]) h; END$d$',
    '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', '{live,alone,inside,spent,due}'));
  PERFORM dblink_exec('usual', $q$DO $d$BEGIN
    PERFORM code_record_access_token('g', 'revoked', 4102444800), code_record_access_token('g', 'due', 1), code_revoke_family('g');
    PERFORM code_record_access_token('f', 'valid', 4102444800);
    INSERT INTO authorization_revoked_families VALUES ('2000-01-01', 'due');
    PERFORM * FROM code_take('spent'); END$d$ $q$);
END $$;
CREATE TABLE found (t text, n int, obstacle text, call text, code text, message text, detail text, hint text, written boolean);
CREATE PROCEDURE attempt(t text, k text) LANGUAGE plpgsql AS $$
DECLARE obstacle obstacles; call calls; answer record; before text;
BEGIN
  FOR obstacle IN SELECT * FROM obstacles ORDER BY n LOOP
    CALL fill();
    EXECUTE regexp_replace(regexp_replace(obstacle.make, '\mt\M', t, 'g'), '\mk\M', k, 'g');
    COMMIT;
    FOR call IN SELECT * FROM calls ORDER BY n LOOP
      before := state(t);
      answer := answer(call);
      INSERT INTO found VALUES (t, obstacle.n, obstacle.name, call.name, answer.code, replace(answer.message, t, 't'), answer.detail, answer.hint, state(t) IS DISTINCT FROM before);
      COMMIT;
    END LOOP;
    EXECUTE regexp_replace(regexp_replace(obstacle.undo, '\mt\M', t, 'g'), '\mk\M', k, 'g');
    COMMIT;
  END LOOP;
END $$;
CALL attempt('authorizations', 'code_hash');
CALL attempt('authorization_access_tokens', 'jti');
CALL attempt('authorization_revoked_families', 'revocation');
CALL attempt('authorization_runs', 'run');
-- A call that is refused writes nothing.
WITH answers AS (
  SELECT t, n, obstacle, array_agg(call ORDER BY call) FILTER (WHERE code IS NOT NULL) AS refused, array_agg(DISTINCT code) FILTER (WHERE code IS NOT NULL) AS codes,
    array_agg(call) FILTER (WHERE code IS NOT NULL AND written) AS written, array_agg(concat_ws(' ', call, message) ORDER BY call) FILTER (WHERE code IS NULL) AS others
  FROM found GROUP BY t, n, obstacle)
SELECT t, array_agg(obstacle ORDER BY n) AS obstacles, refused, codes, written, others FROM answers GROUP BY t, refused, codes, written, others ORDER BY t, min(n);
SELECT array_agg(DISTINCT obstacle ORDER BY obstacle) AS obstacles, message, detail, hint FROM found WHERE code IS NOT NULL GROUP BY message, detail, hint ORDER BY min(n);

SELECT dblink_disconnect(name) FROM unnest('{usual,of a run}'::text[]) name;
DROP EXTENSION dblink;
DROP FOREIGN DATA WRAPPER nothing CASCADE;
DROP PROCEDURE attempt, fill;
DROP FUNCTION answer, state;
DROP TABLE obstacles, calls, found;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes;
