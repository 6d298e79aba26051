-- code_get writes nothing also where it could: no transaction id, no row lock, no lock on the table but the readers'.
SELECT code_put('h', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
BEGIN;
SELECT data->>'subject' AS subject FROM code_get('h');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND relation IN ('authorizations'::regclass, 'authorizations_pkey'::regclass) ORDER BY 1, 2;
COMMIT;
SELECT xmax = 0 AS no_row_lock FROM authorizations;
-- The measures do move: for code_put.
BEGIN;
SELECT code_put('i', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1800000000);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT relation::regclass, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND relation IN ('authorizations'::regclass, 'authorizations_pkey'::regclass) ORDER BY 1, 2;
COMMIT;
TRUNCATE authorizations;
