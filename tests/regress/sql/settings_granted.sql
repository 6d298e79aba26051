-- What PostgreSQL 14 does not have: names that are reserved for an extension, and SET as a right.
SELECT current_setting('server_version_num')::int < 150000 AS is_14 \gset
\if :is_14
\echo it has neither
\quit
\endif
SELECT current_user AS superuser \gset
CREATE ROLE regress_tuner LOGIN;
GRANT EXECUTE ON FUNCTION code_take(text) TO regress_tuner;
SELECT code_put('settings-granted', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);

-- Other settings of this name are refused.
SET attesto_codes.take_in_transactions = 'join';

-- A role that was granted SET on one may set it.
GRANT SET ON PARAMETER attesto_codes.take_in_transaction TO regress_tuner;
\c - regress_tuner
BEGIN;
SET LOCAL attesto_codes.take_in_transaction = 'join';
SELECT status FROM code_take('settings-granted');
ROLLBACK;
SELECT status FROM code_take('settings-granted');

\c - :superuser
REVOKE SET ON PARAMETER attesto_codes.take_in_transaction FROM regress_tuner;
REVOKE EXECUTE ON FUNCTION code_take(text) FROM regress_tuner;
DROP ROLE regress_tuner;
DELETE FROM authorizations WHERE code_hash = 'settings-granted';
