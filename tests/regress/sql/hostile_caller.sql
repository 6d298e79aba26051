-- No table, type, operator, function or cast that a caller plants, and no search_path, changes what a function does.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "real", "redirect_uri": "r", "scope": ["a"], "dpop_jkt": "t", "family_id": "f", "x": 1}'
\set other '{"client_id": "c", "subject": "real", "redirect_uri": "r", "family_id": "g"}'
\set protocol '{"client_id": "c", "subject": "real", "redirect_uri": "r", "family_id": "p", "dpop_jkt": "t", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}'
CREATE ROLE regress_evil;
GRANT CREATE, TEMPORARY ON DATABASE :"DBNAME" TO regress_evil;
GRANT EXECUTE ON FUNCTION code_put, code_get, code_take, code_mark_consumed, code_hash, code_record_access_token, code_revoke_family,
  code_access_token_revoked, code_family_revoked, code_inspect, code_issue, code_redeem, code_complete, code_sweep, code_stats TO regress_evil;
-- The planted tables look like the real ones, and hold live rows of the codes and tokens below.
CREATE TABLE public.planted AS SELECT * FROM authorizations;
CREATE TABLE public.planted_tokens AS SELECT * FROM authorization_access_tokens;
CREATE TABLE public.planted_families AS SELECT * FROM authorization_revoked_families;
ALTER TABLE public.planted OWNER TO regress_evil;
ALTER TABLE public.planted_tokens OWNER TO regress_evil;
ALTER TABLE public.planted_families OWNER TO regress_evil;

SET SESSION AUTHORIZATION regress_evil;
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped: %', TG_NAME; END $$;
CREATE FUNCTION evil.trap(what text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped: %', what; END $$;
CREATE TABLE evil.authorizations (LIKE public.planted, PRIMARY KEY (code_hash));
CREATE TEMP TABLE authorizations (LIKE public.planted, PRIMARY KEY (code_hash));
CREATE TABLE evil.authorization_access_tokens (LIKE public.planted_tokens, PRIMARY KEY (jti));
CREATE TABLE evil.authorization_revoked_families (LIKE public.planted_families, PRIMARY KEY (revocation));
CREATE INDEX authorizations_sweep ON evil.authorizations (retain_from, expires_at);
CREATE INDEX authorization_access_tokens_family ON evil.authorization_access_tokens (family_id, expires_at);
CREATE INDEX authorization_access_tokens_sweep ON evil.authorization_access_tokens (expires_at);
CREATE INDEX authorization_revoked_families_sweep ON evil.authorization_revoked_families (revoked_at);
CREATE INDEX authorization_revoked_families_family ON evil.authorization_revoked_families (family_id);
CREATE TEMP TABLE authorization_access_tokens (LIKE public.planted_tokens, PRIMARY KEY (jti));
CREATE TEMP TABLE authorization_revoked_families (LIKE public.planted_families, PRIMARY KEY (revocation));
DROP TABLE public.planted, public.planted_tokens, public.planted_families;
INSERT INTO evil.authorizations SELECT now(), now(), NULL, false, h, 'c', 'planted', 'r', '{}', '{}', NULL, NULL, NULL, NULL, NULL, '{}', NULL, NULL
FROM unnest(ARRAY['h', 'new', 'never issued']) h;
INSERT INTO pg_temp.authorizations SELECT * FROM evil.authorizations;
INSERT INTO evil.authorization_access_tokens VALUES ('2100-01-01', NULL, 'planted', 'f'), ('2000-01-01', NULL, 'expired', 'f');
INSERT INTO pg_temp.authorization_access_tokens SELECT * FROM evil.authorization_access_tokens;
INSERT INTO evil.authorization_revoked_families VALUES ('2000-01-01', 'f', 'planted f'), ('2000-01-01', 'g', 'planted g');
INSERT INTO pg_temp.authorization_revoked_families SELECT * FROM evil.authorization_revoked_families;
CREATE TRIGGER evil_write BEFORE INSERT OR UPDATE OR DELETE ON evil.authorizations FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER temp_write BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.authorizations FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER evil_token BEFORE INSERT OR UPDATE OR DELETE ON evil.authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER temp_token BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.authorization_access_tokens FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER evil_family BEFORE INSERT OR UPDATE OR DELETE ON evil.authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION evil.trap();
CREATE TRIGGER temp_family BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION evil.trap();

-- Operators and functions that hide those of pg_catalog.
CREATE FUNCTION evil.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('= text'); END $$;
CREATE FUNCTION evil.eq(varchar, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('= varchar'); END $$;
CREATE FUNCTION evil.cat(jsonb, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('|| jsonb'); END $$;
CREATE FUNCTION evil.lt(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN evil.trap('< timestamptz'); END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = evil.eq);
CREATE OPERATOR evil.|| (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = evil.cat);
CREATE OPERATOR evil.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.lt);
DO $$
DECLARE signature text;
BEGIN
  FOREACH signature IN ARRAY ARRAY['now() RETURNS timestamptz', 'clock_timestamp() RETURNS timestamptz', 'to_timestamp(double precision) RETURNS timestamptz',
    'textin(text) RETURNS text', 'texteq(text, text) RETURNS boolean', 'bttextcmp(text, text) RETURNS integer', 'jsonb_in(text) RETURNS jsonb',
    'jsonb_out(jsonb) RETURNS text', 'array_length(anyarray, integer) RETURNS integer', 'sha256(bytea) RETURNS bytea', 'code_hash(text) RETURNS text',
    'code_put(text, jsonb, bigint) RETURNS void', 'code_get(text) RETURNS SETOF record', 'code_take(text) RETURNS SETOF record',
    'code_mark_consumed(text, jsonb) RETURNS text', 'jsonb_build_object() RETURNS jsonb', 'code_record_access_token(text, text, bigint) RETURNS boolean',
    'code_revoke_family(text) RETURNS bigint', 'code_access_token_revoked(text) RETURNS boolean', 'code_sweep(integer) RETURNS bigint',
    'code_family_revoked(text) RETURNS boolean', 'code_inspect(text) RETURNS SETOF record', 'code_issue(jsonb, integer) RETURNS text',
    'code_redeem(text, text, text, text, text, jsonb) RETURNS SETOF record', 'code_complete(text, text, bigint, jsonb) RETURNS text', 'gen_random_uuid() RETURNS uuid',
    'code_stats() RETURNS SETOF record', 'pg_notify(text, text) RETURNS void'] LOOP
    EXECUTE format('CREATE FUNCTION evil.%s LANGUAGE plpgsql AS $f$ BEGIN PERFORM evil.trap(%L); END $f$', signature, signature);
  END LOOP;
END $$;
-- Types, in the schema that goes first for types also where nobody named it.
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (evil.trap('domain text'));
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (evil.trap('domain jsonb'));
CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (evil.trap('domain timestamptz'));
CREATE TYPE evil.grant_data AS (x integer);
CREATE FUNCTION evil.make(pg_catalog.jsonb) RETURNS evil.grant_data LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.trap('cast'); END $$;
CREATE CAST (pg_catalog.jsonb AS evil.grant_data) WITH FUNCTION evil.make(pg_catalog.jsonb) AS IMPLICIT;

-- A real code, then everything against it.
RESET SESSION AUTHORIZATION;
SELECT public.code_put('h', :'grant', 4102444800);
SET SESSION AUTHORIZATION regress_evil;
SET search_path = pg_temp, evil, pg_catalog, public;

-- The traps do work.
SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text;
SELECT now();
SELECT 'a'::text;
SELECT code_take('h');
SELECT '{}'::pg_catalog.jsonb::evil.grant_data;
SELECT subject FROM authorizations WHERE code_hash LIKE 'h';
UPDATE authorizations SET subject = subject;

-- And are not met.
SELECT * FROM public.code_get('h');
SELECT * FROM public.code_inspect('h');
SELECT * FROM public.code_take('h');
SELECT * FROM public.code_take('h');
SELECT public.code_mark_consumed('h');
SELECT * FROM public.code_take('h');
SELECT * FROM public.code_take('never issued');
SELECT public.code_mark_consumed('never issued', '{"n": 1}');
SELECT public.code_put('new', :'other', 4102444801);
SELECT public.code_put('new', :'other', 4102444801);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM public.code_get('new');
SELECT public.code_hash('x');
SELECT public.code_record_access_token('f', 'token', 4102444800), public.code_record_access_token('f', 'old', 1);
SELECT public.code_revoke_family('f');
SELECT f, public.code_family_revoked(f) FROM unnest(ARRAY['f', 'g']) f;
SELECT public.code_put('of f', :'grant', 4102444801);
SELECT status FROM public.code_take('of f');
SELECT length(public.code_issue(:'other')) AS code;
SELECT public.code_put(h, :'protocol', 4102444801) FROM pg_catalog.unnest('{redeem,redeem marked}'::pg_catalog.text[]) h;
SELECT status, reason, data->'subject' AS subject FROM public.code_redeem('redeem', 'c', 'r', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 't');
SELECT public.code_complete('redeem', 'completed', 4102444800, '{"n": 1}');
SELECT status, reason FROM public.code_redeem('redeem marked', 'c', 'r', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 't', '{"n": 1}');
SELECT public.code_complete('never issued');
\echo :LAST_ERROR_SQLSTATE
-- A reuse, which revokes the names.
SELECT status, reason, meta FROM public.code_redeem('redeem', 'c', 'r', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', 't');
SELECT public.code_family_revoked('p'), public.code_access_token_revoked('completed');
SELECT public.code_access_token_revoked(jti) FROM unnest(ARRAY['token', 'old', 'planted']) jti;
SELECT live, spent, redeemed, due, families_revoked FROM public.code_stats();
SELECT public.code_sweep();
SET search_path = '';
SELECT live, spent, redeemed, due, families_revoked FROM public.code_stats();
SELECT status FROM public.code_take('new');
SET search_path = pg_temp, evil, pg_catalog, public;
SELECT public.code_mark_consumed('new', '{"n": 1}');

-- The real table holds it all, the planted ones are as they were.
RESET SESSION AUTHORIZATION;
RESET search_path;
SELECT code_hash, subject, consumed_at IS NULL AS live, consumed_success, consumed_meta FROM public.authorizations WHERE length(code_hash) < 43 ORDER BY code_hash;
SELECT count(*) AS issued FROM public.authorizations WHERE length(code_hash) = 43;
SELECT code_hash, subject, consumed_at IS NULL AS live FROM evil.authorizations ORDER BY code_hash;
SELECT code_hash, subject, consumed_at IS NULL AS live FROM pg_temp.authorizations ORDER BY code_hash;
SELECT jti, public.code_access_token_revoked(jti) AS revoked FROM public.authorization_access_tokens ORDER BY jti;
SELECT jti, revoked_at IS NOT NULL AS revoked FROM evil.authorization_access_tokens ORDER BY jti;
SELECT jti, revoked_at IS NOT NULL AS revoked FROM pg_temp.authorization_access_tokens ORDER BY jti;
SELECT p.family_id, p.revoked_at > e.revoked_at AS later, e.* = t.* AS same
FROM public.authorization_revoked_families p, evil.authorization_revoked_families e JOIN pg_temp.authorization_revoked_families t USING (revocation);

\set VERBOSITY terse
SET client_min_messages = warning;
DROP OWNED BY regress_evil CASCADE;
DROP ROLE regress_evil;
TRUNCATE public.authorizations, public.authorization_access_tokens, public.authorization_revoked_families;
