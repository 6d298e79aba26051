-- A client makes the hash itself; pgbench cannot.
\set h random(1000000000000000000, 9223372036854775807)
SELECT code_issue(:issued::jsonb) AS code \gset
SELECT * FROM code_redeem(code_hash(:code::text), :client::text, :redirect_uri::text, :verifier::text);
SELECT code_complete(code_hash(:code::text), :h::text || :family_tail::text, :expires_unix::bigint);
