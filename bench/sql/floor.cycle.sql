-- What three statements cost that read and write nothing: the client, the wire, the protocol.
\set h random(1000000000000000000, 9223372036854775807)
SELECT :h::text || :key_tail::text;
SELECT :h::text || :key_tail::text;
SELECT :h::text || :key_tail::text;
