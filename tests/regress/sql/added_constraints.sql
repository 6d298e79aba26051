-- Constraints that were added hold for every write, and no error of ours tells a value. A default is for columns that a statement leaves out: ours leave none out.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "SECRET", "redirect_uri": "SECRET", "nonce": "SECRET", "family_id": "SECRET"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{SECRET-live,SECRET-spent,SECRET-other}'::text[]) h;
SELECT status FROM code_take('SECRET-spent');

-- CHECK: put, take, replay, mark, record, revoke.
ALTER TABLE authorizations ADD CONSTRAINT a_nonce CHECK (nonce <> 'none');
ALTER TABLE authorizations ADD CONSTRAINT unspent CHECK (consumed_at IS NULL) NOT VALID;
ALTER TABLE authorization_access_tokens ADD CONSTRAINT short CHECK (length(jti) < 10);
ALTER TABLE authorization_access_tokens ADD CONSTRAINT never_revoked CHECK (revoked_at IS NULL);
ALTER TABLE authorization_revoked_families ADD CONSTRAINT short CHECK (length(family_id) < 5);
ALTER TABLE authorization_runs ADD CONSTRAINT never CHECK (run IS NULL);
SELECT code_put('SECRET-new', :'grant'::jsonb || '{"nonce": "none"}', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('SECRET-live');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT status FROM code_take('SECRET-live');
ROLLBACK;
SELECT status FROM code_take('SECRET-spent');
SELECT code_mark_consumed('SECRET-spent', '{"token": "SECRET"}');
SELECT code_record_access_token('f', 'SECRET-12345', 4102444800);
SELECT code_record_access_token('f', 'j', 4102444800);
SELECT code_revoke_family('f');
SELECT code_record_access_token('f', 'SECRET', 4102444800);
-- Of a family that is revoked while the token is recorded: first stored, then changed.
CREATE FUNCTION revoke() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM public.code_revoke_family(NEW.family_id); RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION revoke();
SELECT code_record_access_token('late', 'SECRET', 4102444800);
DROP TRIGGER t ON authorization_access_tokens;
DROP FUNCTION revoke;
SELECT code_revoke_family('SECRET');
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('SECRET-new', :'grant', 4102444800);
RESET attesto_codes.codes_survive_crash;
ALTER TABLE authorizations DROP CONSTRAINT a_nonce, DROP CONSTRAINT unspent;
ALTER TABLE authorization_access_tokens DROP CONSTRAINT short, DROP CONSTRAINT never_revoked;
ALTER TABLE authorization_revoked_families DROP CONSTRAINT short;
ALTER TABLE authorization_runs DROP CONSTRAINT never;
-- Also one that has the name of the extension's own.
ALTER TABLE authorizations DROP CONSTRAINT redeemed_implies_spent, ADD CONSTRAINT redeemed_implies_spent CHECK (nonce <> 'none' AND (consumed_at IS NOT NULL OR NOT consumed_success));
SELECT code_put('SECRET-none', :'grant'::jsonb || '{"nonce": "none"}', 4102444800);
DELETE FROM authorizations WHERE nonce = 'none' RETURNING code_hash;
ALTER TABLE authorizations DROP CONSTRAINT redeemed_implies_spent, ADD CONSTRAINT redeemed_implies_spent CHECK (consumed_at IS NOT NULL OR NOT consumed_success);

-- NOT NULL on columns that may be NULL otherwise.
ALTER TABLE authorizations ALTER nonce SET NOT NULL, ALTER family_id SET NOT NULL;
SELECT code_put('SECRET-new', :'grant'::jsonb - 'nonce', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('new', :'grant', 4102444800);
SELECT status FROM code_take('new');
ALTER TABLE authorizations ALTER nonce DROP NOT NULL, ALTER family_id DROP NOT NULL;
DELETE FROM authorization_access_tokens;
ALTER TABLE authorization_access_tokens ALTER revoked_at SET NOT NULL;
SELECT code_record_access_token('SECRET', 'SECRET', 4102444800);
ALTER TABLE authorization_access_tokens ALTER revoked_at DROP NOT NULL;

-- Unique and exclusion constraints, checked at the end of the statement.
TRUNCATE authorizations, authorization_access_tokens;
ALTER TABLE authorizations ADD CONSTRAINT one_a_nonce UNIQUE (nonce) DEFERRABLE, ADD CONSTRAINT one_spent EXCLUDE USING btree (client_id WITH =) WHERE (consumed_at IS NOT NULL) DEFERRABLE INITIALLY DEFERRED,
  ADD CONSTRAINT one_redeemed EXCLUDE USING btree (subject WITH =) WHERE (consumed_success) DEFERRABLE;
ALTER TABLE authorization_access_tokens ADD CONSTRAINT one_a_family UNIQUE (family_id) DEFERRABLE;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('nonce', h, 'client_id', left(h, 1)), 4102444800)) FROM unnest('{c1,c2,d1}'::text[]) h;
SELECT code_put('SECRET-new', :'grant'::jsonb || '{"nonce": "c1"}', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('c1');
-- That one is deferred: not where a worker commits.
SELECT status FROM code_take('c2');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT status FROM code_take('c2');
ROLLBACK;
SELECT status FROM code_take('d1');
SELECT code_mark_consumed('c1'), expires_at FROM code_get('c2');
SELECT code_mark_consumed('d1');
\echo :LAST_ERROR_SQLSTATE
SELECT code_record_access_token('SECRET', 'j1', 4102444800);
SELECT code_record_access_token('SECRET', 'j2', 4102444800);
-- In the caller's transaction a deferred one is checked at its COMMIT.
SET attesto_codes.take_in_transaction = join;
BEGIN;
SET CONSTRAINTS one_a_nonce, one_redeemed DEFERRED;
SELECT code_put('SECRET-new', :'grant'::jsonb || '{"nonce": "c1"}', 4102444800);
SELECT code_mark_consumed('d1');
SELECT status FROM code_take('c2');
\set VERBOSITY sqlstate
COMMIT;
BEGIN;
SELECT status FROM code_take('c2');
DELETE FROM authorizations WHERE code_hash = 'c1';
COMMIT;
RESET attesto_codes.take_in_transaction;
\set VERBOSITY default
SELECT code_hash, consumed_at IS NOT NULL AS spent, consumed_success AS redeemed FROM authorizations ORDER BY 1;

-- No field of an error holds a value.
CREATE FUNCTION pg_temp.error(call text, subject text, nonce text, OUT code text, OUT leaks boolean) LANGUAGE plpgsql AS $$
DECLARE f1 text; f2 text; f3 text; f4 text; f5 text; f6 text; f7 text; f8 text; f9 text;
BEGIN
  EXECUTE call USING nonce, jsonb_build_object('client_id', 'd', 'subject', subject, 'redirect_uri', 'SECRET', 'nonce', nonce);
  code := 'none';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, f1 = MESSAGE_TEXT, f2 = PG_EXCEPTION_DETAIL, f3 = PG_EXCEPTION_HINT,
    f4 = PG_EXCEPTION_CONTEXT, f5 = COLUMN_NAME, f6 = CONSTRAINT_NAME, f7 = PG_DATATYPE_NAME, f8 = TABLE_NAME, f9 = SCHEMA_NAME;
  leaks := concat_ws(' ', f1, f2, f3, f4, f5, f6, f7, f8, f9) ~ 'SECRET';
END $$;
TRUNCATE authorizations;
SELECT code_put(h, jsonb_build_object('client_id', 'SECRET', 'subject', 'SECRET', 'redirect_uri', 'SECRET', 'nonce', h), 4102444800) FROM unnest('{SECRET-1,SECRET-2}'::text[]) h;
SELECT status FROM code_take('SECRET-1');
ALTER TABLE authorizations ADD CONSTRAINT a_subject CHECK (subject <> 'SECRET') NOT VALID;
SELECT * FROM pg_temp.error('SELECT code_put($1, $2, 4102444800)', 'SECRET', 'SECRET-3');
SELECT * FROM pg_temp.error('SELECT code_mark_consumed($1)', NULL, 'SECRET-1');
ALTER TABLE authorizations DROP CONSTRAINT a_subject;
SELECT * FROM pg_temp.error('SELECT code_put($1 || 4, $2, 4102444800)', 's', 'SECRET-1');
SELECT * FROM pg_temp.error('SELECT code_take($1)', NULL, 'SECRET-2');
UPDATE authorizations SET family_id = 'SECRET';
ALTER TABLE authorizations ALTER family_id SET NOT NULL;
SELECT * FROM pg_temp.error('SELECT code_put($1, $2, 4102444800)', 's', 'SECRET-3');
ALTER TABLE authorizations ALTER family_id DROP NOT NULL;
ALTER TABLE authorizations DROP CONSTRAINT one_a_nonce, DROP CONSTRAINT one_spent, DROP CONSTRAINT one_redeemed;
ALTER TABLE authorization_access_tokens DROP CONSTRAINT one_a_family;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
