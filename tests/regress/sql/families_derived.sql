-- A revocation is a fact of the family: its tokens and its live codes follow from it, and no row of theirs is written.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
-- A token recorded before the revocation, in its transaction before and after it, and later.
SELECT code_record_access_token('f', 'before', 4102444800), code_record_access_token('f', 'expired', 1), code_record_access_token('g', 'of another', 4102444800);
BEGIN;
SELECT code_record_access_token('f', 'with', 4102444800);
SELECT code_family_revoked('f');
SELECT code_revoke_family('f') AS not_expired;
SELECT code_family_revoked('f');
SELECT code_record_access_token('f', 'with, after', 4102444800);
COMMIT;
SELECT code_record_access_token('f', 'after', 4102444800);
SELECT jti, code_access_token_revoked(jti) AS revoked, revoked_at IS NOT NULL AS stored_revoked FROM authorization_access_tokens ORDER BY jti;
SELECT f, code_family_revoked(f) FROM unnest('{f,g,h}'::text[]) f;
-- Again: nothing is counted, and nothing written.
SELECT code_revoke_family('f'), code_revoke_family('f');
SELECT count(*) AS revocations, count(DISTINCT revocation) AS names FROM authorization_revoked_families;

-- A token that is stored revoked stays so when a sweep that did not see it has removed the revocation, and the next one does not count it.
CREATE EXTENSION dblink;
SELECT dblink_connect(name, format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user))
FROM unnest('{one,two}'::text[]) name;
TRUNCATE authorization_access_tokens;
UPDATE authorization_revoked_families SET revoked_at = now() - interval '31 days';
SELECT dblink_exec('one', 'BEGIN');
SELECT valid FROM dblink('one', 'SELECT code_record_access_token(''f'', ''open'', 4102444800)') r(valid boolean);
SELECT code_sweep();
SELECT dblink_exec('one', 'COMMIT');
SELECT code_family_revoked('f'), code_access_token_revoked('open');
SELECT code_record_access_token('f', 'later', 4102444800);
SELECT code_revoke_family('f');

-- A revocation is kept while a token of its family is valid, however old it is.
UPDATE authorization_revoked_families SET revoked_at = '2000-01-01';
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
SELECT code_access_token_revoked('later');
-- And for an hour, whatever the setting, also if there is no token: one may be recorded in a transaction that is open.
DELETE FROM authorization_access_tokens;
UPDATE authorization_revoked_families SET revoked_at = now() - interval '59 minutes';
SELECT code_sweep();
SELECT code_family_revoked('f');
UPDATE authorization_revoked_families SET revoked_at = now() - interval '61 minutes';
SELECT code_sweep();
SELECT code_family_revoked('f');
RESET attesto_codes.reuse_retention;

-- Two open transactions revoke one family, and both commit.
SELECT code_record_access_token('f', 'j', 4102444800);
SELECT dblink_exec(name, 'BEGIN') FROM unnest('{one,two}'::text[]) name;
SELECT name, revoked FROM unnest('{one,two}'::text[]) name, dblink(name, 'SELECT code_revoke_family(''f'')') r(revoked bigint);
SELECT code_family_revoked('f'), code_access_token_revoked('j');
SELECT dblink_exec(name, 'COMMIT') FROM unnest('{one,two}'::text[]) name;
SELECT code_family_revoked('f'), code_access_token_revoked('j'), count(*) AS revocations FROM authorization_revoked_families;
SELECT dblink_disconnect(name) FROM unnest('{one,two}'::text[]) name;
DROP EXTENSION dblink;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- Any number of them in one transaction: no lock of its own for a record or a revocation.
BEGIN;
SELECT code_record_access_token('f' || i % 20000, 'j' || i, 4102444800) AS valid, count(*) FROM generate_series(1, 100000) i GROUP BY 1;
SELECT sum(code_revoke_family('f' || i)) AS revoked FROM generate_series(0, 19999) i;
SELECT count(*) < 50 AS few_locks FROM pg_locks WHERE pid = pg_backend_pid();
SELECT code_record_access_token('f' || i, 'late' || i, 4102444800) AS valid, count(*) FROM generate_series(0, 19999) i GROUP BY 1;
COMMIT;
SELECT code_access_token_revoked(jti) AS revoked, count(*) FROM authorization_access_tokens GROUP BY 1;
SELECT count(*) FROM authorization_revoked_families;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
