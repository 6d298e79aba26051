-- A code that is put in the very transaction that takes it vanishes with it; a savepoint between the two does not give it twice.
CREATE EXTENSION IF NOT EXISTS attesto_codes;
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'

-- As a test suite does that rolls each test back.
BEGIN;
SELECT code_put('own', :'grant', 1800000000);
SELECT status FROM code_take('own');
SELECT status FROM code_take('own');
SELECT code_mark_consumed('own');
SELECT status FROM code_take('own');
ROLLBACK;
SELECT count(*) FROM authorizations WHERE code_hash = 'own';

-- A rolled back savepoint does not make it live again, neither in the transaction,
BEGIN;
SELECT code_put('own', :'grant', 1800000000);
SAVEPOINT a;
SELECT status FROM code_take('own');
ROLLBACK TO a;
SELECT status FROM code_take('own');
ROLLBACK TO a;
COMMIT;
-- nor after it.
SELECT status FROM code_take('own');
SELECT consumed_at IS NOT NULL AS spent FROM authorizations WHERE code_hash = 'own';

-- The put is rolled back with the take: no such code.
BEGIN;
SAVEPOINT a;
SELECT code_put('own-2', :'grant', 1800000000);
SELECT status FROM code_take('own-2');
ROLLBACK TO a;
SELECT status FROM code_take('own-2');
COMMIT;
SELECT count(*) FROM authorizations WHERE code_hash = 'own-2';

-- A committed one is an ordinary one.
BEGIN;
SELECT code_put('own-3', :'grant', 1800000000);
COMMIT;
BEGIN;
SELECT status FROM code_take('own-3');
ROLLBACK;
SELECT status FROM code_take('own-3');

-- What the transaction has changed by hand is not its own: nobody else can spend it now.
BEGIN;
SELECT code_put('own-4', :'grant', 1800000000);
UPDATE authorizations SET nonce = 'n' WHERE code_hash = 'own-4';
SELECT status FROM code_take('own-4');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- A replay whose trace was rolled back to a savepoint.
BEGIN;
SELECT code_put('own-5', :'grant', 1800000000);
SELECT status FROM code_take('own-5');
SAVEPOINT s;
SELECT status FROM code_take('own-5');
ROLLBACK TO s;
SELECT code_mark_consumed('own-5');
COMMIT;
SELECT replayed_at IS NOT NULL AS replayed, consumed_success FROM authorizations WHERE code_hash = 'own-5';
DELETE FROM authorizations WHERE code_hash LIKE 'own%';

-- A spend that was rolled back to a savepoint: to its own transaction, too, the code is spent.
BEGIN;
SELECT code_put('own-6', :'grant', 1800000000);
SAVEPOINT s;
SELECT status FROM code_take('own-6');
ROLLBACK TO s;
SELECT count(*) FROM code_get('own-6');
SELECT code_mark_consumed('own-6');
SELECT status FROM code_take('own-6');
COMMIT;
SELECT consumed_success, replayed_at IS NULL AS not_replayed, reused_at IS NOT NULL AS reused FROM authorizations WHERE code_hash = 'own-6';
SELECT code_mark_consumed('own-6');
BEGIN;
SELECT code_put('own-7', :'grant', 1800000000);
SAVEPOINT s;
SELECT status FROM code_take('own-7');
SELECT status FROM code_take('own-7');
ROLLBACK TO s;
SELECT count(*) FROM code_get('own-7');
SELECT code_mark_consumed('own-7');
COMMIT;
SELECT code_mark_consumed('own-7');
SELECT consumed_success, replayed_at IS NOT NULL AS replayed FROM authorizations WHERE code_hash = 'own-7';
DELETE FROM authorizations WHERE code_hash LIKE 'own%';
