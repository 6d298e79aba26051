-- The codes of a client's share, in an order that goes all over the table: 6700417 is a prime.
\set n ((:begun + :client_id * :share + :i) * 6700417) % :rows + 1
\set i :i + 1
SELECT * FROM code_take(substr(md5(:n::text), 1, 19) || :key_tail::text);
