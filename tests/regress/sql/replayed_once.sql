-- However often a spent code is presented, it is written once more, and nothing after that.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT code_put('h', :'grant', 4102444800);
SELECT status FROM code_take('h');
CREATE TEMP VIEW version AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
CREATE TEMP TABLE spent AS SELECT * FROM version;
SELECT status FROM code_take('h');
CREATE TEMP TABLE replayed AS SELECT * FROM version;
SELECT r.writer <> s.writer AS written, r.place <> s.place AS moved FROM spent s, replayed r;

-- As a statement of its own, in a larger one, in transactions that commit and that do not.
SELECT status FROM code_take('h');
SELECT status, count(*) FROM generate_series(1, 100), code_take('h') GROUP BY 1;
BEGIN;
SELECT status FROM code_take('h');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status FROM code_take('h');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;
SELECT v.* IS NOT DISTINCT FROM r.* AS unchanged FROM version v, replayed r;

-- The first replay may itself be one that is rolled back: it is written, and once.
SELECT code_put('i', :'grant', 4102444800);
SELECT status FROM code_take('i');
BEGIN;
SELECT status FROM code_take('i');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;
CREATE TEMP TABLE rolled_back AS SELECT * FROM version WHERE code_hash = 'i';
BEGIN;
SELECT status FROM code_take('i');
ROLLBACK;
SELECT status FROM code_take('i');
SELECT v.* IS NOT DISTINCT FROM r.* AS unchanged, r.replayed_at IS NOT NULL AS replayed FROM version v JOIN rolled_back r USING (code_hash);
TRUNCATE authorizations;
