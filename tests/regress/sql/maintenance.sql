-- Commands that rewrite the table or its indexes between the calls of one session change no answer.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT code_put(h, :'grant', 1800000000) FROM unnest(ARRAY['a', 'b', 'c', 'd']) h;
SELECT status FROM code_take('a');
VACUUM FULL authorizations;
SELECT status FROM code_take('a');
SELECT code_mark_consumed('a');
CLUSTER authorizations USING authorizations_pkey;
SELECT status, meta FROM code_take('a');
SELECT status FROM code_take('b');
REINDEX TABLE authorizations;
SELECT status FROM code_take('b');
SELECT expires_at FROM code_get('c');
REINDEX TABLE CONCURRENTLY authorizations;
SELECT status FROM code_take('c');
ALTER INDEX authorizations_pkey RENAME TO renamed;
SELECT status FROM code_take('c');
SELECT code_put('c', :'grant', 1800000000);
\echo :LAST_ERROR_SQLSTATE
ALTER INDEX renamed RENAME TO authorizations_pkey;
VACUUM (FREEZE, ANALYZE) authorizations;
SELECT status FROM code_take('d');
DELETE FROM authorizations WHERE code_hash = 'd';
SELECT status FROM code_take('d');
SELECT code_mark_consumed('d');
VACUUM authorizations;
SELECT code_put('d', :'grant', 1800000001);
SELECT expires_at FROM code_take('d');
TRUNCATE authorizations;
SELECT status FROM code_take('a');
SELECT code_mark_consumed('a');
SELECT code_put('a', :'grant', 1800000002);
SELECT status, expires_at FROM code_take('a');
TRUNCATE authorizations;

-- The same for the tokens.
SELECT code_record_access_token('f', i::text, 4102444800) FROM generate_series(1, 3) i;
VACUUM FULL authorization_access_tokens;
SELECT code_revoke_family('f');
CLUSTER authorization_access_tokens USING authorization_access_tokens_family;
REINDEX TABLE CONCURRENTLY authorization_revoked_families;
SELECT code_record_access_token('f', '4', 4102444800);
REINDEX TABLE CONCURRENTLY authorization_access_tokens;
SELECT i, code_access_token_revoked(i::text) FROM generate_series(1, 5) i;
TRUNCATE authorization_revoked_families;
SELECT code_record_access_token('f', '5', 4102444800);
SELECT code_revoke_family('f');
TRUNCATE authorization_access_tokens, authorization_revoked_families;
