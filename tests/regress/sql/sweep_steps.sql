-- More rows than one transaction of a sweep removes or retains: 10,000. One call goes through them all.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
-- (No autovacuum: where it has the table locked, to give back its end, a sweep leaves the table alone.)
ALTER TABLE authorizations SET (autovacuum_enabled = off);
ALTER TABLE authorization_access_tokens SET (autovacuum_enabled = off);
SELECT count(code_put('old ' || i, :'grant', 1)) FROM generate_series(1, 12000) i;
SELECT count(code_put(i::text, :'grant', extract(epoch FROM now())::bigint - 1000)) FROM generate_series(1, 11000) i;
UPDATE authorizations SET consumed_at = now() - interval '11 minutes', consumed_success = true, consumed_meta = '{}' WHERE code_hash NOT LIKE 'old %';
SELECT count(code_record_access_token('f', i::text, i)) FROM generate_series(1, 500) i;
SELECT code_sweep(11999);
SELECT code_hash LIKE 'old %' AS old, retain_from = expires_at AS retained, count(*) FROM authorizations GROUP BY 1, 2 ORDER BY 1;
SELECT code_sweep(1000000);
SELECT code_hash LIKE 'old %' AS old, retain_from = expires_at AS retained, count(*) FROM authorizations GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM authorization_access_tokens;
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
SELECT code_sweep();
RESET attesto_codes.reuse_retention;
SELECT count(*) FROM authorizations;
ALTER TABLE authorizations RESET (autovacuum_enabled);
ALTER TABLE authorization_access_tokens RESET (autovacuum_enabled);
TRUNCATE authorizations, authorization_access_tokens;
