-- A client makes the hash itself; pgbench cannot.
SELECT code_issue(:issued::jsonb) AS code \gset
SELECT * FROM code_redeem(code_hash(:code::text), :client::text, :redirect_uri::text, :verifier::text, NULL, '{}');
