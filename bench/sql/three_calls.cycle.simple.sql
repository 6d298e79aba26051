-- As in prepared mode, but what was read gets its quotes here.
\set h random(1000000000000000000, 9223372036854775807)
SELECT code_issue(:issued) AS code \gset
SELECT * FROM code_redeem(code_hash(':code'), :client, :redirect_uri, :verifier);
SELECT code_complete(code_hash(':code'), :h::text || :family_tail::text, :expires_unix::bigint);
