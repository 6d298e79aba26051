-- A row that a trigger does not let go, in whatever way, stays as it is. The sweep goes on, raises no error, and counts what went.
CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = 'AB123'; END $$;
CREATE FUNCTION present() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM public.code_take('live'); RETURN NULL; END $$;
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(12, 12); RETURN coalesce(NEW, OLD); END $$;
-- Writes back what was there before.
CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_trigger_depth() = 1 THEN
    EXECUTE format('DELETE FROM public.%I t WHERE coalesce(to_jsonb(t) ->> ''code_hash'', to_jsonb(t) ->> ''jti'', to_jsonb(t) ->> ''family_id'')
      = coalesce($1 ->> ''code_hash'', $1 ->> ''jti'', $1 ->> ''family_id'')', TG_TABLE_NAME) USING to_jsonb(OLD);
    EXECUTE format('INSERT INTO public.%I SELECT ($1).*', TG_TABLE_NAME) USING OLD;
  END IF;
  RETURN NULL;
END $$;
CREATE TABLE kinds AS SELECT * FROM unnest('{gone,skipped,failing,undone,undone later,failing later,presenting,waiting,last gone}'::text[]) kind;
INSERT INTO authorizations SELECT now() - CASE WHEN redeemed THEN interval '1 minute' ELSE interval '1 year' END, now(), CASE WHEN redeemed THEN now() - interval '11 minutes' END, redeemed, kind || CASE WHEN redeemed THEN ', redeemed' ELSE '' END, 'c', 's', 'r', '{}', '{}', NULL, NULL, NULL, NULL, NULL, '{}'
  FROM kinds, unnest('{f,t}'::boolean[]) redeemed;
INSERT INTO authorization_access_tokens SELECT '2000-01-01', NULL, kind, 'f' FROM kinds;
INSERT INTO authorization_revoked_families SELECT '2000-01-01', kind FROM kinds;
SELECT code_put('live', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
DO $$
DECLARE name text; key text;
BEGIN
  FOR name, key IN VALUES ('authorizations', 'code_hash'), ('authorization_access_tokens', 'jti'), ('authorization_revoked_families', 'family_id') LOOP
    EXECUTE replace(replace('
      CREATE TRIGGER a BEFORE DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.k ~ ''^skipped'') EXECUTE FUNCTION skip();
      CREATE TRIGGER b BEFORE DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.k ~ ''^failing(,|$)'') EXECUTE FUNCTION fail();
      CREATE TRIGGER c AFTER DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.k ~ ''^undone(,|$)'') EXECUTE FUNCTION undo();
      CREATE CONSTRAINT TRIGGER d AFTER DELETE OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.k ~ ''^undone later'') EXECUTE FUNCTION undo();
      CREATE CONSTRAINT TRIGGER e AFTER DELETE OR UPDATE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.k ~ ''^failing later'') EXECUTE FUNCTION fail();
      CREATE TRIGGER f AFTER DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.k ~ ''^presenting'') EXECUTE FUNCTION present();
      CREATE TRIGGER g BEFORE DELETE OR UPDATE ON t FOR EACH ROW WHEN (OLD.k ~ ''^waiting'') EXECUTE FUNCTION wait()', ' t ', ' ' || name || ' '), '.k ', '.' || key || ' ');
  END LOOP;
END $$;
CREATE TEMP TABLE codes AS SELECT * FROM authorizations;
CREATE TEMP TABLE tokens AS SELECT * FROM authorization_access_tokens;
CREATE TEMP TABLE families AS SELECT * FROM authorization_revoked_families;
SELECT pg_advisory_lock(12, 12);
SELECT code_sweep();
CREATE TEMP VIEW stored AS SELECT c.code_hash, CASE WHEN a IS NULL THEN 'removed' WHEN to_jsonb(a) = to_jsonb(c) THEN 'as it was' WHEN to_jsonb(a) - 'retain_from' = to_jsonb(c) - 'retain_from' THEN 'retained' END AS code,
  CASE WHEN to_jsonb(t) = to_jsonb(tokens) THEN 'as it was' END AS token, CASE WHEN to_jsonb(f) = to_jsonb(families) THEN 'as it was' END AS family
FROM codes c LEFT JOIN authorizations a USING (code_hash) LEFT JOIN tokens ON jti = code_hash LEFT JOIN authorization_access_tokens t USING (jti)
  LEFT JOIN families ON families.family_id = code_hash LEFT JOIN authorization_revoked_families f ON f.family_id = code_hash;
SELECT * FROM stored ORDER BY 1;
SELECT code_sweep();
-- Evidence that was retained does not go either.
SET session_replication_role = replica;
UPDATE authorizations SET retain_from = '2000-01-01' WHERE consumed_success;
RESET session_replication_role;
SELECT code_sweep();
SELECT array_agg(code_hash ORDER BY code_hash) AS retained FROM stored WHERE code = 'retained';
-- Each goes when its trigger is gone.
SELECT pg_advisory_unlock(12, 12);
SELECT code_sweep();
SET client_min_messages = warning;
DROP FUNCTION skip, fail, present, undo, wait CASCADE;
RESET client_min_messages;
SELECT code_sweep();
SELECT * FROM stored WHERE code <> 'removed' OR token IS NOT NULL OR family IS NOT NULL;
DROP VIEW stored;
DROP TABLE kinds;
TRUNCATE authorizations;
