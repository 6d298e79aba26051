-- code_redeem in a transaction that does not commit: the spend, the close, the mark, the replay, the reuse and the revocations stay.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{spend,close,mark,replay,reuse,revoke}'::text[]) h;
SELECT h, status FROM unnest('{replay,reuse,revoke}'::text[]) WITH ORDINALITY codes(h, n), code_redeem(h, 'c', 'r') ORDER BY n;
SELECT code_complete('reuse', 'j', 4102444800, '{"family_id": "m"}');
SELECT status FROM code_take('revoke');
SELECT * FROM state;
CREATE FUNCTION pg_temp.present(way text) RETURNS TABLE (h text, status text, reason text) LANGUAGE sql AS $$
  SELECT h, status, reason FROM (VALUES (1, 'spend', 'c', NULL::jsonb), (2, 'close', 'd', NULL), (3, 'mark', 'c', '{"n": 1}'), (4, 'replay', 'c', NULL), (5, 'reuse', 'c', NULL), (6, 'revoke', 'c', NULL)) t(n, h, client, meta),
    code_redeem(h || $1, client, 'r', NULL, NULL, t.meta) ORDER BY n $$;
BEGIN;
SELECT * FROM pg_temp.present('');
SELECT * FROM state;
ROLLBACK;
SELECT * FROM state;
SELECT code_access_token_revoked('j');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;

-- Each way in which a transaction, or a part of it, is undone.
CREATE FUNCTION pg_temp.prepare(way text) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  PERFORM code_put(h || way, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'family_id', 'f of ' || h || way), 4102444800) FROM unnest('{spend,close,mark,replay,reuse,revoke}'::text[]) h;
  RETURN 6;
END $$;
SELECT sum(pg_temp.prepare(way)) FROM unnest('{" savepoint"," exception"," cursor"," repeatable"," serializable"," failed"}'::text[]) way;
SELECT status, count(*) FROM unnest('{" savepoint"," exception"," cursor"," repeatable"," serializable"," failed"}'::text[]) way, unnest('{replay,reuse,revoke}'::text[]) h, code_redeem(h || way, 'c', 'r') GROUP BY 1;
SELECT code_complete('reuse' || way), count(*) FROM unnest('{" savepoint"," exception"," cursor"," repeatable"," serializable"," failed"}'::text[]) way GROUP BY 1;
SELECT status, count(*) FROM unnest('{" savepoint"," exception"," cursor"," repeatable"," serializable"," failed"}'::text[]) way, code_take('revoke' || way) GROUP BY 1;
BEGIN;
SAVEPOINT a;
SELECT * FROM pg_temp.present(' savepoint');
ROLLBACK TO a;
COMMIT;
DO $$
BEGIN
  PERFORM pg_temp.present(' exception');
  RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM pg_temp.present(' cursor');
FETCH 6 FROM c;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM authorizations;
SELECT * FROM pg_temp.present(' repeatable');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM authorizations;
SELECT * FROM pg_temp.present(' serializable');
ROLLBACK;
SELECT status, 1 / length(coalesce(reason, '')) FROM pg_temp.present(' failed');
SELECT * FROM state;
-- Nobody gets any of them, and nothing more is written.
SELECT way, h, status, reason FROM unnest('{" savepoint"," exception"," cursor"," repeatable"," serializable"," failed"}'::text[]) way, pg_temp.present(way) WHERE status = 'ok';
SELECT family_id, count(*) FROM authorization_revoked_families GROUP BY 1 HAVING count(*) > 1;
TRUNCATE authorizations, authorization_revoked_families;

-- Where the setting refuses a presentation that could be undone nothing is written, whatever the code and the checks.
SET attesto_codes.take_in_transaction = refuse;
SELECT pg_temp.prepare('');
SELECT status, reason FROM code_redeem('spend', 'c', 'r');
SELECT status, reason FROM code_redeem('close', 'd', 'r');
SELECT status, reason FROM code_redeem('mark', 'c', 'r', meta => '{"n": 1}');
CREATE TEMP TABLE before AS SELECT ctid AS place, xmin AS writer, xmax AS locker, a.* FROM authorizations a;
BEGIN;
SELECT status, reason FROM code_redeem('replay', 'c', 'r');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
\set VERBOSITY sqlstate
BEGIN;
SELECT status, reason FROM code_redeem('spend', 'c', 'r');
ROLLBACK;
SELECT status, reason FROM unnest('{mark}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT status, reason FROM unnest('{unknown}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT code_redeem('replay', 'c', 'r');
\set VERBOSITY default
SELECT count(*), bool_and(b.* IS NOT DISTINCT FROM (a.ctid, a.xmin, a.xmax, a.*)::before) AS untouched FROM before b JOIN authorizations a USING (code_hash);
SELECT count(*) FROM authorization_revoked_families;
SELECT status, reason FROM code_redeem('mark', 'c', 'r');
-- code_complete is part of its transaction in any case.
BEGIN;
SELECT code_complete('spend', 'j', 4102444800);
COMMIT;
RESET attesto_codes.take_in_transaction;
SELECT * FROM state WHERE spent;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
