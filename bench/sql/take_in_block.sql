\set i :i + 1
\set n :client_id * :share + :i
BEGIN;
SELECT * FROM code_take(substr(md5(:n::text), 1, 19) || :key_tail::text);
COMMIT;
