-- Codes of this client, one after the other.
\set n :n + 1
SELECT code_put(md5(:client_id::text || '-' || :n::text) || :key_tail::text, :issued::jsonb, :expires_unix::bigint);
