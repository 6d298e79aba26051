-- Each client takes the codes of its own share, one after the other.
\set i :i + 1
\set n :client_id * :share + :i
SELECT * FROM code_take('c' || :n);
