-- In the transaction of CREATE EXTENSION everything works: what nobody else can see is nobody else's to sweep, or to take.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT code_put('of before', :'grant', 1);
BEGIN;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes;
SELECT code_sweep();
SELECT count(code_put(h, :'grant', 1)) FROM unnest('{a,b}'::text[]) h;
SELECT code_put('c', :'grant', 4102444800);
SELECT code_record_access_token('f', 'j', 1), code_record_access_token('f', 'k', 4102444800);
SELECT code_sweep(), code_sweep(1);
SELECT status, expires_at FROM code_take('a');
SELECT status FROM code_take('a');
SELECT code_mark_consumed('a');
SELECT expires_at FROM code_get('c');
SELECT code_revoke_family('f'), code_access_token_revoked('j');
SELECT code_access_token_revoked('k'), code_family_revoked('f');
SELECT status FROM code_take('c');
SELECT code_sweep();
SELECT live, spent, redeemed, due FROM code_stats();
-- Behind a savepoint, too.
SAVEPOINT s;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes;
SELECT code_put('d', :'grant', 1);
SELECT code_sweep();
SELECT status FROM code_take('d');
ROLLBACK TO s;
SELECT code_sweep();
-- What is refused is refused here, too.
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT code_sweep(0);
ROLLBACK TO s;
SELECT code_sweep(NULL);
ROLLBACK;
\set VERBOSITY default
SELECT code_hash FROM authorizations;
SELECT code_sweep();

-- Committed, they are swept by the next call.
BEGIN;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes;
SELECT code_put('a', :'grant', 1), code_sweep();
COMMIT;
SELECT code_sweep();
-- In another schema, and beside it.
CREATE SCHEMA beside;
BEGIN;
DROP EXTENSION attesto_codes;
CREATE EXTENSION attesto_codes SCHEMA beside;
SELECT beside.code_put('a', :'grant', 1), beside.code_sweep();
ROLLBACK;
-- A table that this transaction has only emptied is not new, but locked: a sweep waits for nobody.
SELECT code_put('a', :'grant', 1);
BEGIN;
TRUNCATE authorizations;
SELECT code_put('b', :'grant', 1);
SELECT code_sweep();
ROLLBACK;
SELECT code_sweep();
DROP SCHEMA beside;
