-- What a sweep retains stays what it was: the reuse is reported, the hash stays taken, and all columns but one are as they were.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f", "claims": {"n": 1.50}}'
CREATE EXTENSION amcheck;
CREATE INDEX by_client ON authorizations (client_id, code_hash);
SELECT count(code_put(h, :'grant', extract(epoch FROM now())::bigint - 60)) FROM unnest(ARRAY['redeemed', 'replayed', 'reused', 'spent', 'live']) h;
SELECT h, status FROM unnest(ARRAY['redeemed', 'replayed', 'reused', 'spent']) h, code_take(h);
SELECT status FROM code_take('replayed');
SELECT h, code_mark_consumed(h, jsonb_build_object('by', h, 'large', repeat(md5(h), 500))) FROM unnest(ARRAY['redeemed', 'replayed', 'reused']) h;
SELECT status FROM code_take('reused');
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'spent';
CREATE TEMP TABLE before AS SELECT * FROM authorizations;
SELECT code_sweep();
SELECT code_hash, to_jsonb(a) - 'retain_from' = to_jsonb(b) - 'retain_from' AS unchanged, a.retain_from = a.expires_at AS retained
FROM before b LEFT JOIN authorizations a USING (code_hash) ORDER BY 1;

-- The next sweep does not write them again.
CREATE TEMP TABLE versions AS SELECT code_hash, ctid AS place, xmin AS writer FROM authorizations;
SELECT code_sweep();
SELECT bool_and(a.ctid = v.place AND a.xmin = v.writer) AS unchanged FROM versions v JOIN authorizations a USING (code_hash);

-- Each function answers as before; what a sweep removed was never issued.
SELECT h, status, meta - 'large' AS meta, length(meta->>'large') AS large FROM unnest(ARRAY['redeemed', 'replayed', 'reused', 'spent', 'live']) h, code_take(h);
SELECT code_hash, reused_at IS NOT NULL AS reused FROM authorizations ORDER BY 1;
SELECT h, code_mark_consumed(h, '{"by": "other"}') FROM unnest(ARRAY['redeemed', 'replayed', 'reused', 'spent', 'live']) h;
SELECT count(*) FROM unnest(ARRAY['redeemed', 'replayed', 'reused', 'spent', 'live']) h, code_get(h);
SELECT code_put('redeemed', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_put('spent', :'grant', 4102444800);
SELECT status FROM code_take('spent');

-- Every index leads to them at their new place.
SELECT indexrelid::regclass AS index, bt_index_parent_check(indexrelid, true, true) FROM pg_index
WHERE indrelid IN ('authorizations'::regclass, 'authorization_access_tokens'::regclass, 'authorization_revoked_families'::regclass) ORDER BY indexrelid::regclass::text COLLATE "C";
SET enable_seqscan = off;
SELECT code_hash, consumed_meta->>'by' AS by FROM authorizations WHERE client_id = 'c' ORDER BY code_hash;
RESET enable_seqscan;
DROP INDEX by_client;
DROP EXTENSION amcheck;
TRUNCATE authorizations;
