\set i :i + 1
\set n :client_id * :share + :i
BEGIN;
SELECT * FROM code_take('c' || :n);
COMMIT;
