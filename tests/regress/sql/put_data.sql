-- data is an object; the first member at fault is named, and nothing is stored.
SELECT code_put('h-data', '[]', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', '[{"client_id": "c", "subject": "s", "redirect_uri": "r"}]', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', '"{}"', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', '1', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', 'true', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', 'null', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', '{}', 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('h-data', '{"client_id": "c", "subject": "s", "redirect_uri": "r", "scope": "openid"}', 1800000000);
\echo :LAST_ERROR_SQLSTATE
-- One that could not be handed out again in one jsonb.
SELECT code_put('h-data', jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'x', repeat('x', 64 << 20)), 1800000000);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorizations WHERE code_hash = 'h-data';
