-- What code_redeem writes: a success with its mark, and a failure with its closing, are one version of the row. However often a code is presented, its row gets two more, and each name one revocation.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
\pset null '-'
-- The newest version of each row, if it is new since the last look.
CREATE TEMP TABLE versions (h text, what text, place tid, writer xid);
CREATE FUNCTION pg_temp.note(what text) RETURNS SETOF text LANGUAGE sql AS $$
  INSERT INTO versions SELECT code_hash, $1, ctid, xmin FROM authorizations a WHERE NOT EXISTS (SELECT FROM versions v WHERE v.h = a.code_hash AND v.place = a.ctid AND v.writer = a.xmin) RETURNING h || ' written by ' || $1 $$;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{marked,failed,not marked}'::text[]) h;
SELECT * FROM pg_temp.note('put') ORDER BY 1;

-- The redemption is one update, as a transaction counts its own.
BEGIN;
SET LOCAL attesto_codes.take_in_transaction = join;
SELECT pg_stat_get_xact_tuples_updated('authorizations'::regclass) AS before \gset
SELECT status FROM code_redeem('marked', 'c', 'r', meta => '{"family_id": "m", "n": 1}');
SELECT pg_stat_get_xact_tuples_updated('authorizations'::regclass) - :before AS updates;
SELECT status FROM code_redeem('failed', 'd', 'r', meta => '{"n": 1}');
SELECT pg_stat_get_xact_tuples_updated('authorizations'::regclass) - :before AS updates;
ROLLBACK;
-- As statements of their own.
SELECT status FROM code_redeem('marked', 'c', 'r', meta => '{"family_id": "m", "n": 1}');
SELECT status FROM code_redeem('failed', 'd', 'r', meta => '{"n": 1}');
SELECT status FROM code_redeem('not marked', 'c', 'r');
SELECT * FROM pg_temp.note('the first presentation') ORDER BY 1;

-- A replay and a reuse, with all that comes after them.
CREATE FUNCTION pg_temp.present(times integer) RETURNS TABLE (h text, status text, reason text, times bigint) LANGUAGE sql AS $$
  SELECT h, status, reason, count(*) FROM generate_series(1, $1) i, unnest('{marked,failed,"not marked"}'::text[]) h, code_redeem(left(h, 100 + i), 'c', 'r', meta => '{"n": 2}') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 $$;
SELECT * FROM pg_temp.present(1);
SELECT * FROM pg_temp.note('the second') ORDER BY 1;
SELECT * FROM pg_temp.present(10);
SELECT * FROM pg_temp.note('later ones') ORDER BY 1;
SELECT code_mark_consumed('failed', '{"n": 3}'), code_mark_consumed('not marked', '{"n": 3}');
SELECT * FROM pg_temp.note('a mark') ORDER BY 1;
SELECT * FROM pg_temp.present(1);
SELECT * FROM pg_temp.note('the one after the mark') ORDER BY 1;
SELECT * FROM pg_temp.present(10);
BEGIN;
SELECT status FROM code_redeem('marked', 'c', 'r');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;
SELECT status FROM code_redeem('not marked', 'c', 'r');
SELECT * FROM pg_temp.note('later ones') ORDER BY 1;
SELECT h, count(*) AS versions FROM versions GROUP BY 1 ORDER BY 1;
SELECT family_id, count(*) FROM authorization_revoked_families GROUP BY 1 ORDER BY 1;

-- Also where another presentation noted it and left the revocation to its caller: it needs a revocation, and no version.
SELECT code_put('taken', :'grant', 4102444800);
SELECT status FROM code_take('taken');
SELECT status FROM code_take('taken');
TRUNCATE versions;
SELECT count(*) FROM pg_temp.note('before');
SELECT family_id FROM authorization_revoked_families WHERE family_id IN ('f', 'taken');
SELECT status, reason FROM generate_series(1, 3) i, code_redeem(left('taken', 100 + i), 'c', 'r');
SELECT * FROM pg_temp.note('a revocation');
SELECT family_id, count(*) FROM authorization_revoked_families WHERE family_id IN ('f', 'taken') GROUP BY 1 ORDER BY 1;
TRUNCATE authorizations, authorization_revoked_families;
