-- code_redeem inside a trigger on one of our tables raises 25001, as code_take does; in a trigger on another table it works as in any function. code_complete is refused in neither.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{other,live,spent,redeemed,undone,completed}'::text[]) h;
SELECT status, count(*) FROM unnest('{spent,redeemed,completed}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT code_complete('redeemed');
CREATE FUNCTION present() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM * FROM public.code_redeem(TG_ARGV[0], 'c', 'r'); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER t AFTER INSERT ON authorizations FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT code_put('new', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON authorizations;
\set VERBOSITY sqlstate
CREATE TRIGGER t BEFORE UPDATE ON authorizations FOR EACH STATEMENT EXECUTE FUNCTION present('other');
SELECT status FROM code_redeem('live', 'c', 'r');
SELECT status FROM code_redeem('live', 'd', 'r');
SELECT status FROM code_redeem('spent', 'c', 'r');
SELECT status FROM code_redeem('redeemed', 'c', 'r');
SELECT status FROM code_take('live');
BEGIN;
SELECT status FROM code_redeem('live', 'c', 'r');
ROLLBACK;
SET attesto_codes.take_in_transaction = join;
SELECT status FROM code_redeem('live', 'c', 'r');
RESET attesto_codes.take_in_transaction;
SELECT code_complete('completed');
-- What writes nothing does not fire it.
SELECT status, reason FROM code_redeem('spent', 'd', 'r');
DROP TRIGGER t ON authorizations;
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT status FROM code_redeem('spent', 'c', 'r');
SELECT status FROM code_redeem('redeemed', 'c', 'r');
BEGIN;
SELECT status FROM code_redeem('redeemed', 'c', 'r');
ROLLBACK;
SELECT code_revoke_family('f');
DROP TRIGGER t ON authorization_revoked_families;
CREATE TRIGGER t AFTER INSERT ON authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT code_complete('completed', 'j', 4102444800);
DROP TRIGGER t ON authorization_access_tokens;
CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION present('other');
SELECT status FROM code_redeem('live', 'c', 'r');
SELECT code_complete('completed');
DROP TRIGGER t ON authorizations;
\set VERBOSITY default
SELECT * FROM state;
SELECT count(*) FROM authorization_access_tokens;

-- In a trigger of another table.
CREATE TABLE logins (h text);
CREATE TRIGGER t AFTER INSERT ON logins FOR EACH ROW EXECUTE FUNCTION present('undone');
BEGIN;
INSERT INTO logins VALUES ('a');
INSERT INTO logins VALUES ('b');
ROLLBACK;
SELECT * FROM state WHERE code_hash IN ('undone', 'other');
-- code_complete in a trigger of ours.
CREATE FUNCTION complete() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.code_complete('completed', 'by the trigger', 4102444800); RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON authorization_access_tokens FOR EACH ROW WHEN (NEW.jti = 'first') EXECUTE FUNCTION complete();
SELECT code_record_access_token('f', 'first', 4102444800);
SELECT jti, family_id FROM authorization_access_tokens ORDER BY 1;
DROP TRIGGER t ON authorization_access_tokens;
DROP TABLE logins;
DROP FUNCTION present, complete;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
