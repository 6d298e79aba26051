-- A code_hash that exists is told without the hash, whatever the primary key is called; an administrator's own unique
-- index speaks for itself.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put('the-hash', :'grant', 1800000000);
CREATE UNIQUE INDEX authorizations_pkey_subject ON authorizations (subject);
SELECT code_put('another', :'grant', 1800000000);
SELECT code_put('the-hash', :'grant'::jsonb || '{"subject": "t"}', 1800000000);
ALTER INDEX authorizations_pkey RENAME TO "a ""strange"" näme";
SELECT code_put('the-hash', :'grant'::jsonb || '{"subject": "t"}', 1800000000);
ALTER INDEX "a ""strange"" näme" RENAME TO authorizations_pkey;
DROP INDEX authorizations_pkey_subject;
-- PostgreSQL looks into the oldest index first: after this that is no longer the primary key.
CREATE UNIQUE INDEX by_hash ON authorizations (code_hash text_pattern_ops);
REINDEX INDEX CONCURRENTLY authorizations_pkey;
SELECT code_put('the-hash', :'grant'::jsonb || '{"subject": "t"}', 1800000000);
-- What the primary key is called while REINDEX CONCURRENTLY replaces it.
ALTER INDEX by_hash RENAME TO authorizations_pkey_ccold1;
SELECT code_put('the-hash', :'grant'::jsonb || '{"subject": "t"}', 1800000000);
DROP INDEX authorizations_pkey_ccold1;
SELECT code_record_access_token('f', 'the-jti', 1800000000);
CREATE UNIQUE INDEX by_family ON authorization_access_tokens (family_id);
SELECT code_record_access_token('f', 'another', 1800000000);
DROP INDEX by_family;
-- The errors of other constraints tell no value either, also when a take meets them.
ALTER TABLE authorizations ADD CONSTRAINT one_a_subject EXCLUDE USING btree (subject WITH =);
SELECT code_put('another', :'grant', 1800000000);
ALTER TABLE authorizations DROP CONSTRAINT one_a_subject;
CREATE UNIQUE INDEX one_spent_a_client ON authorizations (client_id) WHERE consumed_at IS NOT NULL;
SELECT code_put('another', :'grant', 1800000000);
SELECT status FROM code_take('the-hash');
SELECT status FROM code_take('another');
DROP INDEX one_spent_a_client;
DELETE FROM authorizations WHERE code_hash = 'another';
SELECT code_put('another', :'grant', 1800000000);
SELECT code_hash, subject FROM authorizations ORDER BY code_hash;
TRUNCATE authorizations, authorization_access_tokens;
