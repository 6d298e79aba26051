-- Triggers of every kind see every write of every call exactly once, as the owner of the table, and none that was rolled back.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE ROLE regress_owner;
CREATE ROLE regress_caller;
GRANT EXECUTE ON FUNCTION code_put, code_take, code_mark_consumed, code_record_access_token, code_revoke_family, code_sweep TO regress_caller;
CREATE TABLE audit (write text, fired text, row text, old_rows int, new_rows int, by name);
GRANT INSERT ON audit TO regress_owner;
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  line public.audit; older jsonb; newer jsonb;
BEGIN
  line.write := TG_OP || ' ' || TG_TABLE_NAME;
  line.fired := coalesce(TG_ARGV[0], lower(TG_WHEN || ' ' || TG_LEVEL));
  line.by := current_user;
  IF TG_LEVEL = 'ROW' THEN
    older := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    newer := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    line.row := coalesce(newer->>'code_hash', older->>'code_hash', newer->>'jti', older->>'jti', newer->>'family_id', older->>'family_id', 'a run')
      || coalesce((SELECT ': ' || string_agg(key, ' ' ORDER BY key) FROM jsonb_each(older) o JOIN jsonb_each(newer) n USING (key) WHERE o.value <> n.value), '');
  ELSIF TG_WHEN = 'AFTER' THEN
    IF TG_OP <> 'INSERT' THEN SELECT count(*) INTO line.old_rows FROM older_rows; END IF;
    IF TG_OP <> 'DELETE' THEN SELECT count(*) INTO line.new_rows FROM newer_rows; END IF;
  END IF;
  INSERT INTO public.audit SELECT line.*;
  RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
-- Before PostgreSQL 18, a deferred trigger runs as the role that commits.
CREATE FUNCTION see_deferred() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.audit VALUES (TG_OP || ' ' || TG_TABLE_NAME, 'deferred', NULL, NULL, NULL, 'regress_owner');
  RETURN NULL;
END $$;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY '{authorizations,authorization_access_tokens,authorization_revoked_families,authorization_runs}'::text[] LOOP
    EXECUTE replace('
      ALTER TABLE t OWNER TO regress_owner;
      CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION see();
      CREATE TRIGGER b AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION see();
      CREATE TRIGGER c BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t FOR EACH STATEMENT EXECUTE FUNCTION see();
      CREATE TRIGGER d AFTER INSERT ON t REFERENCING NEW TABLE AS newer_rows FOR EACH STATEMENT EXECUTE FUNCTION see();
      CREATE TRIGGER e AFTER UPDATE ON t REFERENCING OLD TABLE AS older_rows NEW TABLE AS newer_rows FOR EACH STATEMENT EXECUTE FUNCTION see();
      CREATE TRIGGER f AFTER DELETE ON t REFERENCING OLD TABLE AS older_rows FOR EACH STATEMENT EXECUTE FUNCTION see();
      CREATE CONSTRAINT TRIGGER g AFTER INSERT OR UPDATE OR DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see_deferred()', ' t ', format(' %I ', name));
  END LOOP;
END $$;
CREATE TRIGGER h AFTER UPDATE OF consumed_at ON authorizations FOR EACH ROW
  WHEN (OLD.consumed_at IS NULL AND NEW.consumed_at IS NOT NULL AND NEW.subject = 's') EXECUTE FUNCTION see('spend');
CREATE TRIGGER i AFTER UPDATE OF consumed_at ON authorizations FOR EACH ROW WHEN (NEW.subject = 'nobody') EXECUTE FUNCTION see('of nobody');
CREATE TRIGGER j AFTER UPDATE OF subject, expires_at ON authorizations FOR EACH ROW EXECUTE FUNCTION see('of another column');
-- What was seen since the last look, and by how many triggers of each kind.
CREATE FUNCTION seen(OUT write text, OUT rows text[], OUT row_triggers text, OUT statement_triggers text, OUT old_rows bigint, OUT new_rows bigint,
  OUT deferred bigint, OUT narrow text, OUT by name[]) RETURNS SETOF record SECURITY DEFINER LANGUAGE sql AS $$
  WITH new AS (DELETE FROM public.audit RETURNING *)
  SELECT write, array_agg(row ORDER BY row COLLATE "C") FILTER (WHERE fired = 'after row'),
    count(*) FILTER (WHERE fired = 'before row') || ' ' || count(*) FILTER (WHERE fired = 'after row'),
    count(*) FILTER (WHERE fired = 'before statement') || ' ' || count(*) FILTER (WHERE fired = 'after statement'),
    sum(old_rows), sum(new_rows), count(*) FILTER (WHERE fired = 'deferred'), string_agg(fired, ' ') FILTER (WHERE fired = 'spend' OR fired LIKE 'of %'), array_agg(DISTINCT by)
  FROM new GROUP BY write ORDER BY write COLLATE "C" $$;

-- This role has no right on any table.
SET SESSION AUTHORIZATION regress_caller;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{alone,inside,undone}'::text[]) h;
SELECT * FROM seen();
BEGIN;
SELECT code_put('never', :'grant', 4102444800);
ROLLBACK;
SELECT code_put('alone', :'grant', 4102444800);
SELECT count(*) FROM seen();

-- A spend, alone and inside a transaction that is rolled back, and what later presentations write.
SELECT status FROM code_take('alone');
SELECT * FROM seen();
BEGIN;
SELECT status FROM code_take('inside');
ROLLBACK;
SELECT * FROM seen();
SELECT status FROM code_take('alone');
BEGIN;
SELECT status FROM code_take('inside');
ROLLBACK;
SELECT * FROM seen();
SELECT status FROM code_take('alone');
BEGIN;
SELECT code_mark_consumed('alone', '{"n": 1}');
ROLLBACK;
SELECT count(*) FROM seen();
SELECT code_mark_consumed(h, '{"n": 2}') FROM unnest('{alone,inside}'::text[]) h;
SELECT * FROM seen();
BEGIN;
SELECT status FROM code_take('inside');
ROLLBACK;
SELECT status FROM code_take('alone');
SELECT * FROM seen();
SELECT status FROM code_take('alone');
SELECT code_mark_consumed('alone');
SELECT status FROM code_take('unknown');
SELECT count(*) FROM seen();

-- What a transaction writes again as it commits, since a savepoint undid it, was written once.
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SAVEPOINT s;
SELECT status FROM code_take('own');
ROLLBACK TO s;
COMMIT;
SELECT * FROM seen();

-- join: what is seen shares the fate of the transaction.
RESET SESSION AUTHORIZATION;
SET attesto_codes.take_in_transaction = join;
SET SESSION AUTHORIZATION regress_caller;
BEGIN;
SELECT status FROM code_take('undone');
ROLLBACK;
SELECT count(*) FROM seen();
SELECT status FROM code_take('undone');
SELECT * FROM seen();

-- Families, and a run.
RESET SESSION AUTHORIZATION;
RESET attesto_codes.take_in_transaction;
SET attesto_codes.codes_survive_crash = off;
SET SESSION AUTHORIZATION regress_caller;
SELECT code_put('of a run', :'grant', 4102444800), code_put('of the run', :'grant', 4102444800);
SELECT * FROM seen();
SELECT code_record_access_token('f', jti, 4102444800) FROM unnest('{j1,j2}'::text[]) jti;
SELECT * FROM seen();
SELECT code_revoke_family('f'), code_revoke_family('f'), code_record_access_token('f', 'j3', 4102444800);
SELECT * FROM seen();
-- A family that is revoked while its token is recorded: the token is changed.
RESET SESSION AUTHORIZATION;
CREATE FUNCTION revoke() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN PERFORM public.code_revoke_family(NEW.family_id); RETURN NULL; END $$;
CREATE TRIGGER z AFTER INSERT ON authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION revoke();
SET SESSION AUTHORIZATION regress_caller;
SELECT code_record_access_token('late', 'j4', 4102444800);
SELECT * FROM seen();
RESET SESSION AUTHORIZATION;
DROP TRIGGER z ON authorization_access_tokens;
DROP FUNCTION revoke;

-- A sweep removes, and retains by an UPDATE; what it retained it removes later.
RESET SESSION AUTHORIZATION;
RESET attesto_codes.codes_survive_crash;
UPDATE authorizations SET expires_at = now() - interval '1 minute', consumed_at = consumed_at - interval '11 minutes' WHERE code_hash IN ('alone', 'undone', 'own');
UPDATE authorization_access_tokens SET expires_at = now() - interval '1 minute';
UPDATE authorization_revoked_families SET revoked_at = now() - interval '1 year';
TRUNCATE audit;
SET SESSION AUTHORIZATION regress_caller;
SELECT code_sweep();
SELECT * FROM seen();
SELECT code_sweep();
SELECT count(*) FROM seen();
RESET SESSION AUTHORIZATION;
SET attesto_codes.reuse_retention = 0;
SET SESSION AUTHORIZATION regress_caller;
SELECT code_sweep();
SELECT * FROM seen();
RESET SESSION AUTHORIZATION;
RESET attesto_codes.reuse_retention;
SELECT array_agg(code_hash ORDER BY code_hash COLLATE "C") AS stored FROM authorizations;

DROP EXTENSION attesto_codes;
DROP FUNCTION see, see_deferred, seen;
DROP TABLE audit;
DROP ROLE regress_owner, regress_caller;
CREATE EXTENSION attesto_codes;
