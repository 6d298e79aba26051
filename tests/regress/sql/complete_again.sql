-- code_complete called again, as after a lost answer: the same call is ok, another one for its jti is 23505.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "f"}', 4102444800)) FROM unnest('{one,of the family,with meta}'::text[]) h;
SELECT count(code_put(h, :'grant'::jsonb || '{"family_id": "g"}', 4102444800)) FROM unnest('{other,not completed}'::text[]) h;
SELECT status, count(*) FROM unnest('{one,of the family,other,not completed}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT status FROM code_redeem('with meta', 'c', 'r', meta => '{"family_id": "m"}');
SELECT code_complete('one', 'j1', 4102444800, '{"n": 1}');
CREATE TEMP VIEW token AS SELECT ctid AS place, xmin AS writer, xmax AS locker, t.* FROM authorization_access_tokens t;
CREATE TEMP TABLE before AS SELECT * FROM authorizations WHERE code_hash = 'one';
CREATE TEMP TABLE recorded AS TABLE token;
SELECT code_complete('one', 'j1', 4102444800, '{"n": 1}');
BEGIN;
SELECT code_complete('one', 'j1', 4102444800, '{"n": 1}'), code_complete('one', 'j1', 4102444800, '{"n": 1}');
COMMIT;
-- The meta is not compared: the first one stays.
SELECT code_complete('one', 'j1', 4102444800, '{"n": 2, "family_id": "other"}'), code_complete('one', 'j1', 4102444800), code_complete('one');
SELECT b.* IS NOT DISTINCT FROM a.* AS unchanged, a.consumed_meta FROM before b JOIN authorizations a USING (code_hash);
SELECT t.* IS NOT DISTINCT FROM r.* AS untouched FROM token t, recorded r;
-- A second token of the same code.
SELECT code_complete('one', 'j2', 4102444801), code_complete('one', 'j2', 4102444801), code_complete('one', 'j1', 4102444800);

-- Another expiry, another family, a code that has not been completed.
SELECT code_complete('one', 'j1', 4102444801);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('other', 'j1', 4102444800);
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT code_complete('one', 'j1', 4102444799);
SELECT code_complete('with meta', 'j1', 4102444800);
SELECT code_complete('of the family', 'j1', 4102444800);
SELECT code_complete('not completed', 'j1', 4102444800, '{"family_id": "f"}');
SELECT code_record_access_token('f', 'j1', 4102444800);
\set VERBOSITY default
SELECT * FROM state;
SELECT jti, family_id, extract(epoch FROM expires_at)::bigint AS expires_at FROM authorization_access_tokens ORDER BY 1;
-- A savepoint keeps the rest; with a fresh jti it goes on.
BEGIN;
SAVEPOINT a;
SELECT code_complete('not completed', 'j1', 4102444800);
ROLLBACK TO a;
SELECT code_complete('not completed', 'j3', 4102444800);
COMMIT;
-- After code_redeem with meta: the token, and again.
SELECT code_complete('with meta', 'j4', 4102444800, '{"family_id": "other"}'), code_complete('with meta', 'j4', 4102444800);
-- After a mark by another call.
SELECT code_mark_consumed('other', '{"n": 3}'), code_complete('other', 'j5', 4102444800, '{"n": 4}'), code_complete('other', 'j5', 4102444800);
SELECT code_mark_consumed('one', '{"n": 5}'), code_complete('one', 'j1', 4102444800);
SELECT code_hash, consumed_meta FROM authorizations ORDER BY 1;
SELECT jti, family_id, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY 1;

-- After a reuse, and after a revocation, it is not ok again.
SELECT status FROM code_redeem('one', 'c', 'r');
SELECT code_complete('one', 'j1', 4102444800);
SELECT code_revoke_family('m');
SELECT code_complete('with meta', 'j4', 4102444800);
-- A token that was recorded for a revoked family is revoked, also when the revocation is gone.
SELECT code_put('late', :'grant'::jsonb || '{"family_id": "l"}', 4102444800);
SELECT status FROM code_redeem('late', 'c', 'r', meta => '{}');
SELECT code_revoke_family('l');
SELECT code_record_access_token('l', 'j6', 4102444800);
DELETE FROM authorization_revoked_families WHERE family_id = 'l';
SELECT code_complete('late', 'j6', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT code_complete('late', 'j7', 4102444800);
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
