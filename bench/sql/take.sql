-- Each client takes the codes of its own share, one after the other.
\set i :i + 1
\set n :client_id * :share + :i
SELECT * FROM code_take(substr(md5(:n::text), 1, 19) || :key_tail::text);
