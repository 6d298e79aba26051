-- What a deferred trigger undoes as the transaction commits: 55000 there, and all is as it was. Nothing was handed out that lives again.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
-- Writes back what was there before.
CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE key text := CASE TG_TABLE_NAME WHEN 'authorizations' THEN 'code_hash' WHEN 'authorization_access_tokens' THEN 'jti' WHEN 'authorization_runs' THEN 'run' ELSE 'family_id' END;
BEGIN
  EXECUTE format('DELETE FROM public.%I WHERE %I = $1', TG_TABLE_NAME, key) USING to_jsonb(NEW) ->> key;
  IF TG_OP = 'UPDATE' THEN
    EXECUTE format('INSERT INTO public.%I SELECT ($1).*', TG_TABLE_NAME) USING OLD;
  END IF;
  RETURN NULL;
END $$;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{live,spent}'::text[]) h;
SELECT status FROM code_take('spent');
SELECT code_record_access_token('f', 'j', 4102444800);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.code_hash = 'new') EXECUTE FUNCTION undo();
CREATE CONSTRAINT TRIGGER u AFTER UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION undo();
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorization_access_tokens DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.jti = 'k') EXECUTE FUNCTION undo();
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorization_revoked_families DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.family_id = 'g') EXECUTE FUNCTION undo();
CREATE CONSTRAINT TRIGGER u AFTER UPDATE ON authorization_access_tokens DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION undo();
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorization_runs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION undo();
\set VERBOSITY sqlstate

-- A code that the transaction puts, and takes: its spend is undone, also where it is written again at the COMMIT.
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SELECT status FROM code_take('own');
COMMIT;
BEGIN;
SELECT code_put('own again', :'grant', 4102444800);
SAVEPOINT s;
SELECT status FROM code_take('own again');
ROLLBACK TO s;
COMMIT;
SELECT code_hash, consumed_at IS NULL AS live FROM authorizations ORDER BY 1;

-- In a worker, by a trigger that defers the others.
CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NEW; END $$;
CREATE TRIGGER a BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION defer();
SELECT status FROM code_take('live');
BEGIN;
SELECT status FROM code_take('live');
COMMIT;
DROP TRIGGER a ON authorizations;

-- Where the caller has asked for them at once, that call fails.
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
SELECT code_mark_consumed('spent');
ROLLBACK;
\set VERBOSITY default

SELECT code_hash, consumed_at IS NOT NULL AS spent, consumed_success AS redeemed FROM authorizations ORDER BY 1;
SELECT jti, revoked_at IS NOT NULL AS revoked FROM authorization_access_tokens ORDER BY 1;
SELECT family_id FROM authorization_revoked_families;
DROP FUNCTION defer;
SET client_min_messages = warning;
DROP FUNCTION undo CASCADE;
RESET client_min_messages;
SELECT h, status FROM unnest('{own,own again,live}'::text[]) h, code_take(h);
SELECT code_mark_consumed('spent'), code_record_access_token('f', 'k', 4102444800), code_revoke_family('f');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
