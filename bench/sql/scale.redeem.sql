\set n :n + 1
SELECT * FROM code_redeem(md5(:server::text || '-' || :client_id::text || '-' || :n::text) || :key_tail::text, :client::text, :redirect_uri::text, :verifier::text, NULL, '{}');
