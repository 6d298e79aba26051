-- As in prepared mode, but what was read gets its quotes here.
SELECT code_issue(:issued) AS code \gset
SELECT * FROM code_redeem(code_hash(':code'), :client, :redirect_uri, :verifier, NULL, '{}');
