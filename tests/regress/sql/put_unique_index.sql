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
SELECT code_put('another', :'grant', 1800000000);
SELECT code_hash, subject FROM authorizations ORDER BY code_hash;
TRUNCATE authorizations;
