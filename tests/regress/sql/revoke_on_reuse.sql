-- attesto_codes.revoke_on_reuse: off, a replay and a reuse by code_redeem are noted and announced, and their caller revokes. On again, the next one revokes.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
CREATE TEMP VIEW state AS SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at = consumed_at AS closed, replayed_at > consumed_at AS replayed, consumed_success AS redeemed, reused_at IS NOT NULL AS reused,
  (SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families r WHERE family_id IN (a.code_hash, a.family_id, consumed_meta->>'family_id')) AS revoked FROM authorizations a ORDER BY code_hash;
SELECT current_user AS superuser \gset
CREATE EXTENSION dblink;
SELECT dblink_connect('listener', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
SELECT dblink_exec('listener', 'LISTEN attesto_codes_reuse');
-- The notifications that the listener got, up to the word "end", which is sent last.
CREATE FUNCTION pg_temp.told() RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE notice text;
BEGIN
  FOR i IN 1 .. 1000 LOOP
    FOR notice IN SELECT extra FROM dblink_get_notify('listener') LOOP
      IF notice = 'end' THEN RETURN; END IF;
      RETURN NEXT notice::jsonb - 'when';
    END LOOP;
    PERFORM pg_sleep(0.01);
  END LOOP;
  RAISE EXCEPTION 'the listener waits in vain';
END $$;
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', 'f of ' || h), 4102444800)) FROM unnest('{replay,reuse,replay inside,reuse inside,on,of a role,off of a role,of a connection}'::text[]) h;
SELECT status, count(*) FROM unnest('{replay,reuse,replay inside,reuse inside,on,of a role,off of a role,of a connection}'::text[]) h, code_redeem(h, 'c', 'r') GROUP BY 1;
SELECT code_complete('reuse', 'j1', 4102444800), code_complete('reuse inside', 'j2', 4102444800, '{"family_id": "m"}'), code_complete('on', 'j3', 4102444800);
SHOW attesto_codes.revoke_on_reuse;

SET attesto_codes.revoke_on_reuse = off;
SELECT status, reason FROM code_redeem('replay', 'c', 'r');
SELECT status, reason, meta FROM code_redeem('reuse', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('replay inside', 'c', 'r');
SELECT status, reason, meta FROM code_redeem('reuse inside', 'c', 'r');
ROLLBACK;
SELECT status FROM code_redeem('reuse', 'c', 'r');
SELECT * FROM state;
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();
SELECT count(*) FROM authorization_revoked_families;
SELECT code_complete('replay');
-- A code whose name is revoked is refused nevertheless.
SELECT code_put('live', :'grant'::jsonb || '{"family_id": "g"}', 4102444800), code_revoke_family('g');
SELECT status, reason FROM code_redeem('live', 'c', 'r');

-- On again: it is made up for, and announced no more.
RESET attesto_codes.revoke_on_reuse;
SELECT status, reason FROM code_redeem('replay', 'c', 'r');
SELECT status, reason FROM code_redeem('reuse', 'd', 'r');
SELECT status, reason FROM code_redeem('reuse', 'c', 'r');
BEGIN;
SELECT status, reason FROM code_redeem('replay inside', 'c', 'r');
SELECT status, reason FROM code_redeem('reuse inside', 'c', 'r');
ROLLBACK;
SELECT * FROM state;
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();
-- What announces it is the first reuse alone, and no replay, no closing and no failed check.
SELECT status, reason FROM code_redeem('on', 'd', 'r');
SELECT status, reason FROM code_redeem('on', 'c', 'r');
SELECT status, reason FROM code_redeem('on', 'c', 'r');
NOTIFY attesto_codes_reuse, 'end';
SELECT * FROM pg_temp.told();

SELECT dblink_disconnect('listener');

-- A role may not change it: not in its session, nor for itself.
CREATE ROLE regress_token LOGIN;
GRANT EXECUTE ON FUNCTION code_redeem TO regress_token;
\c - regress_token
SET attesto_codes.revoke_on_reuse = off;
SET attesto_codes.replay_grace = 10;
SELECT status FROM code_redeem('of a role', 'c', 'r');
SET attesto_codes.revoke_on_reuse = off;
\echo :LAST_ERROR_SQLSTATE
SET attesto_codes.replay_grace = 10;
\echo :LAST_ERROR_SQLSTATE
ALTER ROLE regress_token SET attesto_codes.revoke_on_reuse = off;
ALTER ROLE regress_token SET attesto_codes.replay_grace = 10;
SHOW attesto_codes.revoke_on_reuse;
SHOW attesto_codes.replay_grace;
-- A superuser may, for the role.
\c - :superuser
ALTER ROLE regress_token SET attesto_codes.revoke_on_reuse = off;
\c - regress_token
SELECT status FROM code_redeem('off of a role', 'c', 'r');
\c - :superuser
ALTER ROLE regress_token RESET attesto_codes.revoke_on_reuse;
-- A revocation that cannot be written: nothing is noted, neither by the statement nor by a worker.
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)) FROM unnest('{replayed,reused}'::text[]) h;
SELECT count(*) FROM unnest('{replayed,reused}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT code_complete('reused');
ALTER INDEX authorization_revoked_families_family RENAME TO elsewhere;
SELECT status FROM code_redeem('replayed', 'c', 'r');
SELECT status FROM code_redeem('reused', 'c', 'r');
BEGIN;
SELECT status FROM code_redeem('replayed', 'c', 'r');
ROLLBACK;
BEGIN;
SELECT status FROM code_redeem('reused', 'c', 'r');
ROLLBACK;
ALTER INDEX elsewhere RENAME TO authorization_revoked_families_family;
SELECT code_hash, replayed_at, reused_at, code_family_revoked(code_hash) AS revoked FROM authorizations WHERE code_hash IN ('replayed', 'reused') ORDER BY 1;

-- Nor in its connection.
\c "dbname=regression user=regress_token options='-c attesto_codes.revoke_on_reuse=off -c attesto_codes.replay_grace=10'"
SELECT status FROM code_redeem('of a connection', 'c', 'r');
SHOW attesto_codes.revoke_on_reuse;
SHOW attesto_codes.replay_grace;
\c - :superuser
SELECT code_hash, replayed_at IS NOT NULL AS replayed, code_family_revoked(code_hash) AS revoked FROM authorizations WHERE code_hash ~ 'of a ' ORDER BY 1;
REVOKE ALL ON FUNCTION code_redeem FROM regress_token;
DROP ROLE regress_token;
SET attesto_codes.revoke_on_reuse = 'perhaps';
DROP EXTENSION dblink;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
