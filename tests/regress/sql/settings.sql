-- attesto_codes.take_in_transaction: what each value does, and who may change it.
CREATE EXTENSION IF NOT EXISTS attesto_codes;
SELECT current_user AS superuser \gset
CREATE ROLE regress_token LOGIN;
GRANT EXECUTE ON FUNCTION code_take(text) TO regress_token;
SELECT count(code_put('settings-' || i, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000))
FROM generate_series(1, 9) i;

-- The default: a take that is rolled back stays spent.
SHOW attesto_codes.take_in_transaction;
BEGIN;
SELECT status FROM code_take('settings-1');
ROLLBACK;
SELECT status FROM code_take('settings-1');

-- refuse: an error wherever the take could be undone, and the code stays live.
SET attesto_codes.take_in_transaction = 'refuse';
BEGIN;
SELECT status FROM code_take('settings-2');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT code_take('settings-2');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM code_take('settings-2');
BEGIN;
SELECT status FROM code_take('settings-2');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT code_mark_consumed('settings-2');

-- join: the take is part of its transaction.
SET attesto_codes.take_in_transaction = 'join';
BEGIN;
SELECT status FROM code_take('settings-3');
ROLLBACK;
SELECT status FROM code_take('settings-3');
-- So is a replay, and a reuse.
BEGIN;
SELECT status FROM code_take('settings-3');
ROLLBACK;
SELECT code_mark_consumed('settings-3');
BEGIN;
SELECT status FROM code_take('settings-3');
ROLLBACK;
SELECT replayed_at, reused_at FROM authorizations WHERE code_hash = 'settings-3';

-- Other values are refused.
SET attesto_codes.take_in_transaction = 'perhaps';
RESET attesto_codes.take_in_transaction;

-- It weakens the guarantee: an ordinary role may not change it,
SET SESSION AUTHORIZATION regress_token;
SET attesto_codes.take_in_transaction = 'join';
SET SESSION AUTHORIZATION DEFAULT;

-- also not in a new session, before the library that defines it is loaded, and not for its role.
\c - regress_token
SET attesto_codes.take_in_transaction = 'join';
BEGIN;
SELECT status FROM code_take('settings-4');
SHOW attesto_codes.take_in_transaction;
ROLLBACK;
SELECT status FROM code_take('settings-4');

ALTER ROLE regress_token SET attesto_codes.take_in_transaction = 'join';

-- Large entries might reach the client before the commit: they take the safe way.
\c - :superuser
SELECT code_put('settings-large', jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r',
  'claims', jsonb_build_object('x', repeat('x', 100000))), 1800000000);
SELECT status, length(data->'claims'->>'x') FROM code_take('settings-large');
SELECT status FROM code_take('settings-large');

-- The connection's own setting does not change it, either.
\c "dbname=regression user=regress_token options='-c attesto_codes.take_in_transaction=join'"
SHOW attesto_codes.take_in_transaction;
BEGIN;
SELECT status FROM code_take('settings-5');
SHOW attesto_codes.take_in_transaction;
ROLLBACK;
SELECT status FROM code_take('settings-5');

\c - :superuser
REVOKE EXECUTE ON FUNCTION code_take(text) FROM regress_token;
DROP ROLE regress_token;
DELETE FROM authorizations WHERE code_hash LIKE 'settings-%';
