-- code_issue makes a code, stores its hash and the grant, and answers the code, which is stored nowhere.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f", "later": [null]}'
SELECT code_issue(:'grant') AS code \gset
SELECT length(:'code'), :'code' ~ '^[A-Za-z0-9_-]{43}$' AS base64url, length(decode(translate(:'code', '-_', '+/') || '=', 'base64')) AS bytes;
SELECT code_hash = code_hash(:'code') AS by_its_hash, to_jsonb(a)::text !~ :'code' AS stored_nowhere FROM authorizations a;
SELECT data FROM code_get(code_hash(:'code'));
SELECT status FROM code_take(code_hash(:'code'));
SELECT code_mark_consumed(code_hash(:'code'));

-- From 1 second to 600, by the clock at the call, and up to the next whole second: 60 where nothing is said.
CREATE FUNCTION pg_temp.life(expires_in integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE least numeric := extract(epoch FROM clock_timestamp()); code text; life text;
BEGIN
  code := code_issue('{"client_id": "c", "subject": "s", "redirect_uri": "r"}', expires_in);
  SELECT CASE WHEN expires_at - expires_in BETWEEN least AND ceil(extract(epoch FROM clock_timestamp())) THEN 'as it says' ELSE expires_at::text END
    INTO life FROM code_get(code_hash(code));
  RETURN life;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
SELECT expires_in, pg_temp.life(expires_in) FROM unnest('{1,2,60,599,600,0,-1,601,2147483647,-2147483648}'::int[]) expires_in;
SELECT expires_at - extract(epoch FROM now()) BETWEEN 59 AND 61 AS a_minute FROM code_get(code_hash(code_issue(:'grant')));
-- The clock goes on inside a transaction.
BEGIN;
SELECT extract(epoch FROM now()) AS began \gset
SELECT pg_sleep_until(date_trunc('second', now()) + interval '1001 milliseconds');
SELECT expires_at - floor(:began) >= 12 AS of_the_call FROM code_get(code_hash(code_issue(:'grant', 10)));
ROLLBACK;
SELECT code_issue(:'grant', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'grant', 601);
\echo :LAST_ERROR_SQLSTATE

-- A family: that of the grant, or a fresh one, with all else as it is.
CREATE FUNCTION pg_temp.family(data jsonb) RETURNS text LANGUAGE sql AS $$ SELECT data->>'family_id' FROM code_get(code_hash(code_issue($1))) $$;
SELECT pg_temp.family(:'grant');
SELECT data - 'family_id', data->>'family_id' ~ '^[A-Za-z0-9_-]{22}$' AS fresh FROM code_get(code_hash(code_issue(:'grant'::jsonb - 'family_id')));
SELECT pg_temp.family(:'grant'::jsonb || '{"family_id": null}') ~ '^[A-Za-z0-9_-]{22}$' AS fresh;
SELECT count(DISTINCT pg_temp.family(:'grant'::jsonb - 'family_id')) AS families FROM generate_series(1, 1000);
-- All different, the codes too.
CREATE TEMP TABLE codes AS SELECT code_issue(:'grant') AS code FROM generate_series(1, 1000);
SELECT count(DISTINCT code) AS codes, count(DISTINCT code_hash) AS stored FROM codes LEFT JOIN authorizations ON code_hash = code_hash(code);
SELECT count(DISTINCT substr(code, n, 1)) > 50 AS varied, count(*) FROM codes, generate_series(1, 42) n GROUP BY n ORDER BY n LIMIT 1;
-- None of them is in the table.
SELECT count(*) FROM (SELECT code FROM codes LIMIT 100) codes, (SELECT string_agg(a::text, ' ') AS rows FROM authorizations a) stored WHERE strpos(rows, code) > 0;

-- In the caller's transaction, with the run of the setting.
SELECT count(*) AS before FROM authorizations \gset
BEGIN;
SELECT length(code_issue(:'grant'));
ROLLBACK;
SELECT count(*) - :before AS stored FROM authorizations;
SET attesto_codes.codes_survive_crash = off;
SELECT code_issue(:'grant') AS code \gset
SELECT run IS NOT NULL AS of_a_run FROM authorizations WHERE code_hash = code_hash(:'code');
RESET attesto_codes.codes_survive_crash;
BEGIN;
SELECT code_issue(:'grant') AS code \gset
SELECT status FROM code_take(code_hash(:'code'));
COMMIT;
SELECT status FROM code_inspect(code_hash(:'code'));

-- What is wrong is refused as by code_put, and nothing is stored.
SELECT count(*) AS before FROM authorizations \gset
SELECT code_issue(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'grant', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue('{"client_id": "c", "subject": "s"}');
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue('[]');
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'grant'::jsonb || '{"family_id": ""}');
\echo :LAST_ERROR_SQLSTATE
SELECT code_issue(:'grant'::jsonb || '{"code_challenge": "x", "code_challenge_method": "plain"}');
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT code_issue(:'grant');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(*) - :before AS stored FROM authorizations;

-- An issuer needs this function and no other.
CREATE ROLE regress_issuer;
SET ROLE regress_issuer;
SELECT code_issue(:'grant');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT EXECUTE ON FUNCTION code_issue TO regress_issuer;
SET ROLE regress_issuer;
SELECT length(code_issue(:'grant'));
SELECT code_put('h', :'grant', 4102444800);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM authorizations;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
REVOKE ALL ON FUNCTION code_issue FROM regress_issuer;
DROP ROLE regress_issuer;
DROP TABLE codes;
TRUNCATE authorizations, authorization_runs;
