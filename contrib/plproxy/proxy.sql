-- A proxy database: the functions of attesto_codes, with the same names, types and answers, over shards. See docs/scale-out.md.
--
--   psql -X -1 -v ON_ERROR_STOP=1 -f proxy.sql proxy
--
-- It is run by a superuser, in an empty database with the encoding UTF8. If the extension is in another schema than public on the
-- shards, this script needs search_path on a schema of that name. It needs PL/Proxy, and not the extension. Afterwards name the
-- shards in shards.map, and grant rights.
SELECT quote_ident(current_schema()) AS schema \gset
DO $$
BEGIN
  IF current_setting('server_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'the encoding of this database is not UTF8' USING HINT = 'Create it with createdb -E UTF8 -T template0.';
  END IF;
END
$$;
CREATE EXTENSION plproxy;
CREATE SCHEMA plproxy;
CREATE SCHEMA shards;
GRANT USAGE ON SCHEMA plproxy, shards TO PUBLIC;

-- The map. A name, which is a code_hash or a family_id, belongs to one of 256 partitions for ever. The map says which shard has it.

CREATE TABLE shards.map (
  partition  integer PRIMARY KEY CHECK (partition BETWEEN 0 AND 255),
  connection text    NOT NULL
);
COMMENT ON TABLE shards.map IS
  'The shard of each of the 256 partitions, as a connection string of libpq that holds no user and no secret.';
INSERT INTO shards.map SELECT partition, 'dbname=unnamed' FROM generate_series(0, 255) partition;

CREATE TABLE shards.version (
  version integer NOT NULL
);
COMMENT ON TABLE shards.version IS
  'Grows with each change of shards.map, which a session then reads again. Each call locks this table until its transaction ends.';
INSERT INTO shards.version VALUES (1);
GRANT SELECT ON shards.map, shards.version TO PUBLIC;

CREATE FUNCTION shards.count_up() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF (SELECT count(*) FROM shards.map) <> 256 THEN
    RAISE EXCEPTION 'shards.map must have all 256 partitions' USING HINT = 'Update its rows.';
  END IF;
  UPDATE shards.version SET version = version + 1;
  RETURN NULL;
END
$$;
CREATE TRIGGER count_up AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON shards.map EXECUTE FUNCTION shards.count_up();

-- What PL/Proxy asks at each call. The functions from here to the next section return SETOF and are one statement each, so that they
-- become part of the query that calls them. The statements are parsed here, so no search_path of a caller changes them.

CREATE FUNCTION plproxy.get_cluster_version(cluster_name text) RETURNS SETOF integer STABLE
BEGIN ATOMIC
  SELECT version FROM shards.version;
END;

CREATE FUNCTION plproxy.get_cluster_partitions(cluster_name text) RETURNS SETOF text STABLE
BEGIN ATOMIC
  SELECT connection FROM shards.map ORDER BY partition;
END;

CREATE FUNCTION plproxy.get_cluster_config(cluster_name text, OUT key text, OUT val text) RETURNS SETOF record STABLE
BEGIN ATOMIC
  SELECT 'connection_lifetime', '3600';
END;

-- STABLE, as convert_to is: otherwise it would not become part of the queries below.
CREATE FUNCTION shards.partition(name text) RETURNS integer STABLE PARALLEL SAFE
RETURN coalesce(get_byte(sha256(convert_to(name, 'UTF8')), 0), 0);
COMMENT ON FUNCTION shards.partition(text) IS
  'The partition of a code_hash or a family_id: the first byte of its SHA-256. That of NULL is 0, whose shard raises the error.';

CREATE FUNCTION shards.refuse_read_only() RETURNS integer STABLE LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'cannot write to a shard in a read-only transaction' USING ERRCODE = 'read_only_sql_transaction',
    DETAIL = 'The shard would commit what this transaction may not write.',
    HINT = 'Call it in a transaction that is not READ ONLY.';
END
$$;

CREATE FUNCTION shards.refuse_family() RETURNS integer STABLE LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the family is on another partition than the code' USING ERRCODE = 'invalid_parameter_value',
    DETAIL = 'The member "family_id" and the argument "code_hash" have different values of shards.partition().',
    HINT = 'Let code_issue make the code, or leave family_id out: the code_hash is then the family.';
END
$$;

CREATE FUNCTION shards.refuse_family_id(family_id text) RETURNS integer STABLE LANGUAGE plpgsql AS $$
BEGIN
  IF family_id IS NULL THEN
    RAISE EXCEPTION 'argument family_id must not be null' USING ERRCODE = 'null_value_not_allowed',
      DETAIL = 'The argument "family_id" is NULL.', HINT = 'Pass a value; nothing is skipped silently.';
  END IF;
  RAISE EXCEPTION 'invalid family_id' USING ERRCODE = 'invalid_parameter_value',
    DETAIL = 'The argument "family_id" must be a string of 1 to 1024 bytes.', HINT = 'Pass the identifier itself, not the token.';
END
$$;

-- For a call whose shard does not see the family.
CREATE FUNCTION shards.reading_family(family_id text) RETURNS SETOF integer STABLE
BEGIN ATOMIC
  SELECT CASE WHEN octet_length(family_id) BETWEEN 1 AND 1024 THEN shards.partition(family_id) ELSE shards.refuse_family_id(family_id) END;
END;

CREATE FUNCTION shards.reading(name text) RETURNS SETOF integer STABLE
BEGIN ATOMIC
  SELECT shards.partition(name);
END;

CREATE FUNCTION shards.writing(name text) RETURNS SETOF integer STABLE
BEGIN ATOMIC
  SELECT CASE WHEN current_setting('transaction_read_only')::boolean THEN shards.refuse_read_only() ELSE shards.partition(name) END;
END;

-- All that belongs to one family is on one shard. So a reuse revokes the family in the write that notes it.
CREATE FUNCTION shards.writing(code_hash text, object jsonb) RETURNS SETOF integer STABLE
BEGIN ATOMIC
  SELECT CASE
    WHEN current_setting('transaction_read_only')::boolean THEN shards.refuse_read_only()
    WHEN code_hash IS NOT NULL AND jsonb_typeof(object->'family_id') = 'string'
        AND shards.partition(object->>'family_id') <> shards.partition(code_hash)
      THEN shards.refuse_family()
    ELSE shards.partition(code_hash) END;
END;

-- The functions of the extension that are about one name: a code or a family. Each calls its namesake on the shard of that name.
-- PL/Proxy takes only VOLATILE functions, also for what is STABLE there.

CREATE FUNCTION code_put(code_hash text, data jsonb, expires_at bigint)
RETURNS void
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(code_hash, data); $$;

CREATE FUNCTION code_get(code_hash text)
RETURNS TABLE (data jsonb, expires_at bigint)
ROWS 1
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.reading(code_hash); $$;

CREATE FUNCTION code_inspect(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.reading(code_hash); $$;

CREATE FUNCTION code_take(code_hash text)
RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(code_hash); $$;

CREATE FUNCTION code_mark_consumed(code_hash text, meta jsonb DEFAULT '{}')
RETURNS text
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(code_hash, meta); $$;

CREATE FUNCTION code_redeem(
  code_hash text, client_id text, redirect_uri text DEFAULT NULL, code_verifier text DEFAULT NULL, dpop_jkt text DEFAULT NULL,
  meta jsonb DEFAULT NULL
)
RETURNS TABLE (status text, reason text, data jsonb, expires_at bigint, meta jsonb)
ROWS 1
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(code_hash, $6); $$;

CREATE FUNCTION code_complete(code_hash text, jti text DEFAULT NULL, expires_at bigint DEFAULT NULL, meta jsonb DEFAULT '{}')
RETURNS text
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(code_hash, meta); $$;

CREATE FUNCTION code_record_access_token(family_id text, jti text, expires_at bigint)
RETURNS boolean
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(family_id); $$;

CREATE FUNCTION code_revoke_family(family_id text)
RETURNS bigint
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.writing(family_id); $$;

CREATE FUNCTION code_family_revoked(family_id text)
RETURNS boolean
LANGUAGE plproxy AS $$ CLUSTER 'codes'; RUN ON shards.reading(family_id); $$;

-- code_issue: the code is made here, and only its hash goes to the shard. It is put there, and expires there by that shard's clock.

CREATE FUNCTION code_hash(code text)
RETURNS text
IMMUTABLE PARALLEL SAFE
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF code IS NULL THEN
    RAISE EXCEPTION 'argument code must not be null' USING ERRCODE = 'null_value_not_allowed',
      DETAIL = 'The argument "code" is NULL.', HINT = 'Pass a value; nothing is skipped silently.';
  END IF;
  RETURN shards.base64url(sha256(convert_to(code, 'UTF8')));
END
$$;

CREATE FUNCTION shards.base64url(bytes bytea) RETURNS text IMMUTABLE PARALLEL SAFE
RETURN rtrim(translate(encode(bytes, 'base64'), '+/', '-_'), '=');

-- 256 random bits: three random UUIDs have 366.
CREATE FUNCTION shards.random_code() RETURNS text
RETURN shards.base64url(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())));

CREATE FUNCTION shards.put_for(code_hash text, data jsonb, expires_in integer)
RETURNS text
LANGUAGE plproxy AS
  'CLUSTER ''codes''; RUN ON shards.writing(code_hash, data); SELECT ''stored'' FROM '
  :'schema'
  '.code_put(code_hash, data, ceil(extract(epoch FROM clock_timestamp()))::bigint + expires_in);';

-- The code of a family that exists has to be on the partition of that family: one of 256 random ones is.
CREATE FUNCTION code_issue(data jsonb, expires_in integer DEFAULT 60)
RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  family_id text := data->>'family_id';
  of_family integer := shards.partition(family_id);
  code text;
  code_hash text;
BEGIN
  -- A shard says that data is NULL.
  IF data IS NOT NULL AND expires_in IS NULL THEN
    RAISE EXCEPTION 'argument expires_in must not be null' USING ERRCODE = 'null_value_not_allowed',
      DETAIL = 'The argument "expires_in" is NULL.', HINT = 'Pass a value; nothing is skipped silently.';
  ELSIF data IS NOT NULL AND expires_in NOT BETWEEN 1 AND 600 THEN
    RAISE EXCEPTION 'invalid expires_in' USING ERRCODE = 'invalid_parameter_value',
      DETAIL = 'The argument "expires_in" must be 1 to 600 seconds.', HINT = 'Pass how long the code is to live; a minute is plenty.';
  END IF;
  LOOP
    code := shards.random_code();
    code_hash := shards.base64url(sha256(convert_to(code, 'UTF8')));
    EXIT WHEN family_id IS NULL OR shards.partition(code_hash) = of_family;
  END LOOP;
  IF family_id IS NULL AND jsonb_typeof(data) = 'object' THEN
    data := data || jsonb_build_object('family_id', code_hash);
  END IF;
  PERFORM shards.put_for(code_hash, data, expires_in);
  RETURN code;
END
$$;

-- The functions that are about no name ask all shards at once.

CREATE FUNCTION shards.token_revoked_on_each(jti text)
RETURNS SETOF boolean
LANGUAGE plproxy AS
  'CLUSTER ''codes''; RUN ON ALL; TARGET '
  :'schema'
  '.code_access_token_revoked;';

CREATE FUNCTION code_access_token_revoked(jti text)
RETURNS boolean
RETURN (SELECT bool_or(is_revoked) FROM shards.token_revoked_on_each(jti) is_revoked);

-- Where the caller knows the family, or a code_hash of it, one shard is enough.
CREATE FUNCTION code_access_token_revoked(jti text, family_id text)
RETURNS boolean
LANGUAGE plproxy AS
  'CLUSTER ''codes''; RUN ON shards.reading_family(family_id); SELECT '
  :'schema'
  '.code_access_token_revoked(jti);';

CREATE FUNCTION shards.sweep_each(max_rows integer)
RETURNS SETOF bigint
LANGUAGE plproxy AS
  'CLUSTER ''codes''; RUN ON ALL; TARGET '
  :'schema'
  '.code_sweep;';

CREATE FUNCTION code_sweep(max_rows integer DEFAULT 10000)
RETURNS bigint
RETURN CASE
  WHEN current_setting('transaction_read_only')::boolean THEN shards.refuse_read_only()
  ELSE (SELECT sum(removed)::bigint FROM shards.sweep_each(max_rows) removed) END;

CREATE TYPE shards.stats AS (
  live bigint, spent bigint, redeemed bigint, due bigint, oldest_due_age double precision, families_revoked bigint, sampled boolean,
  puts bigint, takes_ok bigint, takes_consumed bigint, takes_error bigint, marks_ok bigint, marks_replayed bigint, marks_missing bigint,
  reuses bigint, sweeps bigint, rows_swept bigint,
  spends_statement bigint, spends_oneshot bigint, spends_resident bigint, spends_joined bigint,
  redeems_ok bigint, redeems_consumed bigint, redeems_unknown bigint, redeems_expired bigint, redeems_client_mismatch bigint,
  redeems_redirect_uri_mismatch bigint, redeems_pkce_failed bigint, redeems_dpop_proof_required bigint,
  redeems_dpop_binding_mismatch bigint, redeems_revoked bigint, redeems_spent bigint, completes bigint, revocations_by_reuse bigint
);

CREATE FUNCTION shards.stats_of_each()
RETURNS SETOF shards.stats
LANGUAGE plproxy AS
  'CLUSTER ''codes''; RUN ON ALL; TARGET '
  :'schema'
  '.code_stats;';

CREATE FUNCTION code_stats()
RETURNS TABLE (
  live bigint, spent bigint, redeemed bigint, due bigint, oldest_due_age double precision, families_revoked bigint, sampled boolean,
  puts bigint, takes_ok bigint, takes_consumed bigint, takes_error bigint, marks_ok bigint, marks_replayed bigint, marks_missing bigint,
  reuses bigint, sweeps bigint, rows_swept bigint,
  spends_statement bigint, spends_oneshot bigint, spends_resident bigint, spends_joined bigint,
  redeems_ok bigint, redeems_consumed bigint, redeems_unknown bigint, redeems_expired bigint, redeems_client_mismatch bigint,
  redeems_redirect_uri_mismatch bigint, redeems_pkce_failed bigint, redeems_dpop_proof_required bigint,
  redeems_dpop_binding_mismatch bigint, redeems_revoked bigint, redeems_spent bigint, completes bigint, revocations_by_reuse bigint
)
ROWS 1
BEGIN ATOMIC
  SELECT sum(live), sum(spent), sum(redeemed), sum(due), max(oldest_due_age), sum(families_revoked), bool_or(sampled),
    sum(puts), sum(takes_ok), sum(takes_consumed), sum(takes_error), sum(marks_ok), sum(marks_replayed), sum(marks_missing),
    sum(reuses), sum(sweeps), sum(rows_swept),
    sum(spends_statement), sum(spends_oneshot), sum(spends_resident), sum(spends_joined),
    sum(redeems_ok), sum(redeems_consumed), sum(redeems_unknown), sum(redeems_expired), sum(redeems_client_mismatch),
    sum(redeems_redirect_uri_mismatch), sum(redeems_pkce_failed), sum(redeems_dpop_proof_required),
    sum(redeems_dpop_binding_mismatch), sum(redeems_revoked), sum(redeems_spent), sum(completes), sum(revocations_by_reuse)
  FROM shards.stats_of_each();
END;

-- Rights. Those functions that only compute something stay open to PUBLIC. A caller connects to the shard as itself, and can do there
-- what its role on the shard can do.
REVOKE ALL ON FUNCTION
  code_put, code_get, code_inspect, code_issue, code_redeem, code_complete, code_take, code_mark_consumed, code_record_access_token,
  code_revoke_family, code_access_token_revoked(text), code_access_token_revoked(text, text), code_family_revoked, code_sweep, code_stats,
  code_hash, shards.put_for, shards.token_revoked_on_each, shards.sweep_each, shards.stats_of_each
FROM PUBLIC;
