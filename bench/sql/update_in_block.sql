\set i :i + 1
\set n :client_id * :share + :i
BEGIN;
UPDATE authorizations SET consumed_at = now() WHERE code_hash = 'c' || :n AND consumed_at IS NULL RETURNING *;
COMMIT;
