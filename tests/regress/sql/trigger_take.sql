-- A presentation inside a trigger on one of our tables raises 25001, whichever statement fires the trigger, and whenever. In a trigger on another table it works as in any function.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{other,live,spent,marked,undone}'::text[]) h;
SELECT h, status FROM unnest('{spent,marked}'::text[]) h, code_take(h);
CREATE FUNCTION present() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM public.code_take(TG_ARGV[0]); RETURN coalesce(NEW, OLD); END $$;

-- Each table, each write, by whichever process it is done.
CREATE TRIGGER t AFTER INSERT ON authorizations FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT code_put('new', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON authorizations;
\set VERBOSITY sqlstate
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH STATEMENT EXECUTE FUNCTION present('other');
SELECT status FROM code_take('live');
SELECT status FROM code_take('spent');
BEGIN;
SELECT status FROM code_take('live');
ROLLBACK;
SET attesto_codes.take_in_transaction = join;
SELECT status FROM code_take('live');
RESET attesto_codes.take_in_transaction;
SELECT code_mark_consumed('marked');
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t AFTER INSERT ON authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT code_record_access_token('f', 'j', 4102444800);
DROP TRIGGER t ON authorization_access_tokens;
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT code_revoke_family('f');
DROP TRIGGER t ON authorization_revoked_families;
CREATE TRIGGER t BEFORE INSERT ON authorization_runs FOR EACH ROW EXECUTE FUNCTION present('other');
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('new', :'grant', 4102444800);
RESET attesto_codes.codes_survive_crash;
DROP TRIGGER t ON authorization_runs;
-- The code that is being written, and one that was never issued.
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION present('live');
SELECT status FROM code_take('live');
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION present('never issued');
SELECT status FROM code_take('live');
SELECT code_mark_consumed('marked');
DROP TRIGGER t ON authorizations;

-- Deferred to the COMMIT.
CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION present('other');
BEGIN;
SELECT code_put('new', :'grant', 4102444800);
COMMIT;
SELECT code_put('new', :'grant', 4102444800);
SELECT code_mark_consumed('marked');
SELECT status FROM code_take('live');
BEGIN;
SELECT status FROM code_take('live');
ROLLBACK;
DROP TRIGGER t ON authorizations;

-- By way of another table.
CREATE TABLE logins (h text);
CREATE TRIGGER t AFTER INSERT ON logins FOR EACH ROW EXECUTE FUNCTION present('other');
CREATE FUNCTION log_in() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.logins VALUES (NEW.code_hash); RETURN NEW; END $$;
CREATE TRIGGER t AFTER INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION log_in();
SELECT code_put('new', :'grant', 4102444800);
SELECT status FROM code_take('live');
DROP TRIGGER t ON authorizations;

-- Fired by a statement that is not ours: before the row, after it, and deferred.
CREATE TRIGGER t BEFORE UPDATE OF nonce ON authorizations FOR EACH ROW EXECUTE FUNCTION present('other');
UPDATE authorizations SET nonce = 'n' WHERE code_hash = 'live';
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t AFTER UPDATE OF nonce ON authorizations FOR EACH ROW EXECUTE FUNCTION present('other');
UPDATE authorizations SET nonce = 'n' WHERE code_hash = 'live';
DROP TRIGGER t ON authorizations;
CREATE CONSTRAINT TRIGGER t AFTER UPDATE OF nonce ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION present('other');
UPDATE authorizations SET nonce = 'n' WHERE code_hash = 'live';
DROP TRIGGER t ON authorizations;
\set VERBOSITY default
SELECT code_hash, consumed_at IS NULL AS live, consumed_success AS redeemed, replayed_at IS NOT NULL AS replayed, nonce FROM authorizations ORDER BY 1;

-- A trigger that catches it goes on, and so does the session. What presents nothing is not refused.
CREATE FUNCTION try() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM public.code_record_access_token('of a trigger', NEW.code_hash, expires_at) FROM public.code_get('other');
  PERFORM * FROM public.code_take('other');
EXCEPTION WHEN active_sql_transaction THEN
  INSERT INTO public.authorization_access_tokens SELECT now(), NULL, 'caught at ' || NEW.code_hash, SQLSTATE;
  RETURN NEW;
END $$;
CREATE TRIGGER t AFTER INSERT OR UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION try();
SELECT code_put('new', :'grant', 4102444800);
SELECT status FROM code_take('live');
DROP TRIGGER t ON authorizations;
SELECT jti, family_id FROM authorization_access_tokens ORDER BY 1;

-- In a trigger of another table: the code stays spent.
DROP TRIGGER t ON logins;
CREATE TRIGGER t AFTER INSERT ON logins FOR EACH ROW EXECUTE FUNCTION present('undone');
BEGIN;
INSERT INTO logins VALUES ('undone');
ROLLBACK;
SELECT count(*) AS logins FROM logins;
SELECT code_hash, consumed_at IS NULL AS live FROM authorizations WHERE code_hash IN ('other', 'undone') ORDER BY 1;
DROP TRIGGER t ON logins;
CREATE TRIGGER t BEFORE INSERT ON logins FOR EACH STATEMENT EXECUTE FUNCTION present('new');
INSERT INTO logins VALUES ('alone');
DROP TRIGGER t ON logins;
-- Deferred; also where a trigger of ours waits for the COMMIT, too, and presents nothing.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{deferred,beside,beside deferred}'::text[]) h;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON logins DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION present('deferred');
INSERT INTO logins VALUES ('deferred');
DROP TRIGGER t ON logins;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER t AFTER INSERT ON logins FOR EACH ROW EXECUTE FUNCTION present('beside');
BEGIN;
SELECT code_put('put before it', :'grant', 4102444800);
INSERT INTO logins VALUES ('beside');
COMMIT;
DROP TRIGGER t ON logins;
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON logins DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION present('beside deferred');
BEGIN;
SELECT code_put('put before that', :'grant', 4102444800);
INSERT INTO logins VALUES ('beside deferred');
COMMIT;
-- Where one of ours is still to come nobody can tell which of the two runs.
BEGIN;
INSERT INTO logins VALUES ('beside deferred');
SELECT code_put('put after it', :'grant', 4102444800);
COMMIT;
SELECT h, status FROM unnest('{new,deferred,beside,beside deferred,put before it,put before that,put after it}'::text[]) h, code_take(h);
SELECT h FROM logins ORDER BY h;

DROP TRIGGER t ON authorizations;
DROP TABLE logins;
DROP FUNCTION present, log_in, try, nothing;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
