-- Foreign keys of and to our tables hold for each write. An open reference keeps no code from being presented.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE TABLE clients (id text PRIMARY KEY);
INSERT INTO clients VALUES ('c');
ALTER TABLE authorizations ADD CONSTRAINT of_a_client FOREIGN KEY (client_id) REFERENCES clients ON UPDATE CASCADE;
SELECT code_put('h', :'grant', 4102444800);
SELECT code_put('SECRET', :'grant'::jsonb || '{"client_id": "SECRET"}', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('h');
BEGIN;
SELECT status FROM code_take('h');
ROLLBACK;
SELECT code_mark_consumed('h');
DELETE FROM clients;
\echo :LAST_ERROR_SQLSTATE
UPDATE clients SET id = 'd';
SELECT status FROM code_take('h');
SELECT client_id, replayed_at IS NOT NULL AS replayed, reused_at IS NOT NULL AS reused FROM authorizations;

-- At the end of the transaction: the client may come later, but must come.
ALTER TABLE authorizations ALTER CONSTRAINT of_a_client DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT code_put('i', :'grant', 4102444800);
INSERT INTO clients VALUES ('c');
COMMIT;
BEGIN;
SELECT code_put('SECRET', :'grant'::jsonb || '{"client_id": "SECRET"}', 4102444800);
\set VERBOSITY sqlstate
COMMIT;
SELECT code_put('SECRET', :'grant'::jsonb || '{"client_id": "SECRET"}', 4102444800);
BEGIN;
SET CONSTRAINTS of_a_client IMMEDIATE;
\set VERBOSITY default
SELECT code_put('SECRET', :'grant'::jsonb || '{"client_id": "SECRET"}', 4102444800);
ROLLBACK;
SELECT h, status FROM unnest('{i,SECRET}'::text[]) h, code_take(h);
-- A take that a worker commits checks what it writes, and the key is not among it.
ALTER TABLE authorizations DROP CONSTRAINT of_a_client;
SELECT code_put('of nobody', :'grant'::jsonb || '{"client_id": "nobody"}', 4102444800);
ALTER TABLE authorizations ADD CONSTRAINT of_a_client FOREIGN KEY (client_id) REFERENCES clients NOT VALID;
SELECT status FROM code_take('of nobody');
SELECT code_mark_consumed('of nobody');
ALTER TABLE authorizations DROP CONSTRAINT of_a_client;

-- Of the other tables.
CREATE TABLE families (id text PRIMARY KEY);
INSERT INTO families VALUES ('f');
ALTER TABLE authorization_access_tokens ADD CONSTRAINT of_a_family FOREIGN KEY (family_id) REFERENCES families;
ALTER TABLE authorization_revoked_families ADD CONSTRAINT a_family FOREIGN KEY (family_id) REFERENCES families;
SELECT code_record_access_token('f', 'j', 4102444800), code_revoke_family('f');
SELECT code_record_access_token('SECRET', 'SECRET', 4102444800);
SELECT code_revoke_family('SECRET');
SELECT code_access_token_revoked('j');
ALTER TABLE authorization_access_tokens DROP CONSTRAINT of_a_family;
ALTER TABLE authorization_revoked_families DROP CONSTRAINT a_family;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- A reference that an open transaction has just made: the code's row is held, but its key only. Also where that transaction presents.
CREATE TABLE tokens (code_hash text REFERENCES authorizations ON DELETE RESTRICT, jti text REFERENCES authorization_access_tokens ON DELETE RESTRICT);
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{taken inside,taken before}'::text[]) h;
SELECT code_record_access_token('f', 'j', 4102444800);
INSERT INTO tokens (code_hash) VALUES ('unknown');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('taken before');
BEGIN;
INSERT INTO tokens VALUES ('taken inside', 'j'), ('taken before', 'j');
SELECT status FROM code_take('taken inside');
SELECT status FROM code_take('taken before');
SELECT code_mark_consumed('taken before'), code_revoke_family('f');
ROLLBACK;
SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at IS NOT NULL AS replayed, consumed_success AS redeemed FROM authorizations ORDER BY 1;
-- A code that the transaction put, and refers to.
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
INSERT INTO tokens VALUES ('own', 'j');
SELECT status FROM code_take('own');
SELECT code_mark_consumed('own');
COMMIT;
SELECT status FROM code_take('own');
SELECT t.code_hash, consumed_success AS redeemed FROM tokens t JOIN authorizations USING (code_hash);
DROP TABLE tokens, clients, families;
TRUNCATE authorizations, authorization_access_tokens;
