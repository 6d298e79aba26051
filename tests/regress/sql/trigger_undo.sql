-- A trigger that skips a write, changes what is written, or undoes it: 55000, nothing is handed out, and all is as it was.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
-- Changes one column.
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], TG_ARGV[1]::jsonb)); END $$;
-- Writes back what was there before.
CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE key text := CASE TG_TABLE_NAME WHEN 'authorizations' THEN 'code_hash' WHEN 'authorization_access_tokens' THEN 'jti' WHEN 'authorization_runs' THEN 'run' ELSE 'revocation' END;
BEGIN
  EXECUTE format('DELETE FROM public.%I WHERE %I = $1', TG_TABLE_NAME, key) USING to_jsonb(NEW) ->> key;
  IF TG_OP = 'UPDATE' THEN
    EXECUTE format('INSERT INTO public.%I SELECT ($1).*', TG_TABLE_NAME) USING OLD;
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION state() RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_array((SELECT jsonb_agg(to_jsonb(a) ORDER BY code_hash) FROM authorizations a), (SELECT jsonb_agg(to_jsonb(t) ORDER BY jti) FROM authorization_access_tokens t),
    (SELECT jsonb_agg(to_jsonb(f) ORDER BY family_id) FROM authorization_revoked_families f), (SELECT jsonb_agg(to_jsonb(r) ORDER BY run) FROM authorization_runs r)) $$;
CREATE FUNCTION answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
  SELECT a INTO answer FROM dblink('other', call) r(a text);
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
CREATE FUNCTION commit() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM dblink_exec('other', 'COMMIT');
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
CREATE TEMP TABLE attempts (n int GENERATED ALWAYS AS IDENTITY, trigger text, call text, alone text, inside text, at_commit text, unchanged boolean);
-- A call while there is a trigger: as a statement of its own, and inside a transaction that commits.
CREATE PROCEDURE attempt(event text, call text, VARIADIC functions text[]) LANGUAGE plpgsql AS $$
DECLARE function text; before jsonb := state(); deferred boolean := event LIKE 'DEFERRED %'; alone text; inside text; at_commit text;
BEGIN
  FOREACH function IN ARRAY functions LOOP
    EXECUTE format('CREATE %s t %s %s FOR EACH ROW EXECUTE FUNCTION %s', CASE WHEN deferred THEN 'CONSTRAINT TRIGGER' ELSE 'TRIGGER' END,
      replace(event, 'DEFERRED', 'AFTER'), CASE WHEN deferred THEN 'DEFERRABLE INITIALLY DEFERRED' END, function);
    COMMIT;
    alone := answer(call);
    PERFORM dblink_exec('other', 'BEGIN');
    inside := answer(call);
    at_commit := commit();
    EXECUTE 'DROP TRIGGER t ON ' || split_part(event, ' ', 4);
    INSERT INTO attempts (trigger, call, alone, inside, at_commit, unchanged) VALUES (event || ' ' || function, substring(call FROM 'code_[^,)]+'), alone, inside, at_commit, state() = before);
    -- What should not have been written spoils no other attempt.
    DELETE FROM authorizations WHERE code_hash = 'new';
    DELETE FROM authorization_access_tokens WHERE jti = 'k';
    DELETE FROM authorization_revoked_families;
    UPDATE authorization_access_tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL;
    COMMIT;
  END LOOP;
END $$;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{live,spent,marked,redeemed}'::text[]) h;
SELECT h, status FROM unnest('{spent,marked,redeemed}'::text[]) h, code_take(h);
SELECT code_mark_consumed(h) FROM unnest('{redeemed}'::text[]) h;
SELECT code_record_access_token('f', 'j', 4102444800);

\set put 'SELECT code_put(''new'', ''{"client_id": "c", "subject": "s", "redirect_uri": "r"}'', 4102444800)::text'
CALL attempt('BEFORE INSERT ON authorizations', :'put', 'skip()', $$change('subject', '"t"')$$, $$change('code_hash', '"other"')$$, $$change('nonce', '"n"')$$,
  $$change('expires_at', '"2200-01-01"')$$, $$change('run', '"over"')$$);
CALL attempt('AFTER INSERT ON authorizations', :'put', 'undo()');
\set take 'SELECT status FROM code_take(''live'')'
CALL attempt('BEFORE UPDATE ON authorizations', :'take', 'skip()', $$change('consumed_at', 'null')$$, $$change('consumed_at', '"2000-01-01"')$$, $$change('code_hash', '"other"')$$);
CALL attempt('AFTER UPDATE ON authorizations', :'take', 'undo()');
CALL attempt('DEFERRED UPDATE ON authorizations', :'take', 'undo()');
\set replay 'SELECT status FROM code_take(''spent'')'
CALL attempt('BEFORE UPDATE ON authorizations', :'replay', 'skip()', $$change('replayed_at', 'null')$$);
CALL attempt('DEFERRED UPDATE ON authorizations', :'replay', 'undo()');
\set reuse 'SELECT status FROM code_take(''redeemed'')'
CALL attempt('BEFORE UPDATE ON authorizations', :'reuse', 'skip()', $$change('reused_at', 'null')$$);
CALL attempt('DEFERRED UPDATE ON authorizations', :'reuse', 'undo()');
\set mark 'SELECT code_mark_consumed(''marked'', ''{"n": 1}'')'
CALL attempt('BEFORE UPDATE ON authorizations', :'mark', 'skip()', $$change('consumed_success', 'false')$$, $$change('consumed_meta', '{"n": 2}')$$, $$change('consumed_meta', 'null')$$);
CALL attempt('AFTER UPDATE ON authorizations', :'mark', 'undo()');
\set record 'SELECT code_record_access_token(''g'', ''k'', 4102444800)::text'
CALL attempt('BEFORE INSERT ON authorization_access_tokens', :'record', 'skip()', $$change('jti', '"other"')$$, $$change('family_id', '"other"')$$, $$change('revoked_at', '"2000-01-01"')$$);
CALL attempt('AFTER INSERT ON authorization_access_tokens', :'record', 'undo()');
\set revoke 'SELECT code_revoke_family(''f'')::text'
CALL attempt('BEFORE INSERT ON authorization_revoked_families', :'revoke', 'skip()', $$change('family_id', '"other"')$$, $$change('revoked_at', '"2000-01-01"')$$, $$change('revocation', '"other"')$$);
CALL attempt('AFTER INSERT ON authorization_revoked_families', :'revoke', 'undo()');
-- A token is changed where its family is revoked while it is recorded.
CREATE FUNCTION revoke() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.code_revoke_family(NEW.family_id); RETURN NULL; END $$;
CREATE TRIGGER revoke AFTER INSERT ON authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION revoke();
CALL attempt('BEFORE UPDATE ON authorization_access_tokens', :'record', 'skip()', $$change('revoked_at', 'null')$$);
CALL attempt('AFTER UPDATE ON authorization_access_tokens', :'record', 'undo()');
DROP TRIGGER revoke ON authorization_access_tokens;
SELECT dblink_exec('other', 'SET attesto_codes.codes_survive_crash = off');
CALL attempt('BEFORE INSERT ON authorization_runs', :'put', 'skip()', $$change('run', '"other"')$$);
CALL attempt('AFTER INSERT ON authorization_runs', :'put', 'undo()');
SELECT dblink_exec('other', 'RESET attesto_codes.codes_survive_crash');
SELECT dblink_exec('other', 'SET attesto_codes.take_in_transaction = join');
CALL attempt('BEFORE UPDATE ON authorizations', :'take', 'skip()');
CALL attempt('AFTER UPDATE ON authorizations', :'take', 'undo()');
SELECT dblink_exec('other', 'RESET attesto_codes.take_in_transaction');
-- A code that is spent as it is born is not stored as live.
CALL attempt('BEFORE INSERT ON authorizations', :'put', $$change('consumed_at', '"2000-01-01"')$$);
SELECT trigger, call, alone, inside, at_commit, unchanged FROM attempts ORDER BY n;


-- What the caller is told. Other columns are the trigger's business, and what was undone can be done without it.
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION skip();
SELECT code_put('new', :'grant', 4102444800);
SELECT status FROM code_take('live');
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION change('nonce', '"of the trigger"');
SELECT code_put('new', :'grant', 4102444800);
SELECT status, data->>'nonce' AS nonce FROM code_take('live');
DROP TRIGGER t ON authorizations;
-- A trigger that writes what was there anyway changes nothing, also of what is stored elsewhere.
SELECT jsonb_build_object('n', 1.50, 'large', string_agg(md5(i::text), '')) AS large FROM generate_series(1, 1000) i \gset
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION change('client_id', '"c"');
SELECT code_put('large', :'grant'::jsonb || jsonb_build_object('scope', ARRAY['a', 'ü'], 'dpop_jkt', 't', 'claims', :'large'::jsonb, 'more', :'large'::jsonb), 4102444800);
SELECT status, data @> jsonb_build_object('scope', ARRAY['a', 'ü'], 'dpop_jkt', 't', 'claims', :'large'::jsonb, 'more', :'large'::jsonb) AS whole FROM code_take('large');
SELECT code_mark_consumed('large', :'large');
SELECT status, meta @> :'large' AS whole FROM code_take('large');
DROP TRIGGER t ON authorizations;
DELETE FROM authorizations WHERE code_hash = 'large';
SELECT h, status FROM unnest('{spent,redeemed}'::text[]) h, code_take(h);
SELECT code_mark_consumed('marked', '{"n": 1}'), code_record_access_token('g', 'k', 4102444800), code_revoke_family('f');
SELECT code_hash, nonce, consumed_at IS NOT NULL AS spent, consumed_success AS redeemed, consumed_meta AS meta, replayed_at IS NOT NULL AS replayed, reused_at IS NOT NULL AS reused
FROM authorizations ORDER BY code_hash;
SELECT jti, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY jti;

SELECT dblink_disconnect('other');
DROP EXTENSION dblink;
DROP FUNCTION skip, change, undo, revoke, state, answer, commit;
DROP PROCEDURE attempt;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
