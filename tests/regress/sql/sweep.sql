-- What a sweep removes, and what it leaves.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
-- Days from now, in unix seconds.
CREATE FUNCTION pg_temp.day(days integer) RETURNS bigint LANGUAGE sql AS $$ SELECT extract(epoch FROM now())::bigint + days * 86400 $$;
CREATE TEMP TABLE codes (h text, state text, day integer, family_id text, meta jsonb DEFAULT '{}');
INSERT INTO codes (h, state, day) SELECT state || ' ' || day, state, day
FROM unnest(ARRAY['live', 'spent', 'replayed', 'redeemed', 'reused']) state, unnest(ARRAY[1, -1, -29, -31]) day;
-- Old codes with a token that has not expired: of the family of the grant, or of the one that the redeemer named. A redeemed code is kept for both.
INSERT INTO codes VALUES
  ('live of a family', 'live', -31, 'f', '{}'), ('spent of a family', 'spent', -31, 'f', '{}'), ('redeemed of a family', 'redeemed', -31, 'f', '{}'),
  ('redeemed of a named family', 'redeemed', -31, 'other', '{"family_id": "f"}'), ('redeemed of an unnamed family', 'redeemed', -31, 'f', '{"family_id": null}'),
  ('redeemed of another family', 'redeemed', -31, 'other', '{}'), ('redeemed of an object', 'redeemed', -31, 'f', '{"family_id": {"f": 1}}'),
  ('redeemed of a revoked family', 'redeemed', -31, 'revoked', '{}');
SELECT count(code_put(h, :'grant'::jsonb || jsonb_build_object('family_id', family_id), pg_temp.day(day))) FROM codes;
SELECT status, count(*) FROM codes, code_take(h) WHERE state <> 'live' GROUP BY 1;
SELECT status, count(*) FROM codes, code_take(h) WHERE state = 'replayed' GROUP BY 1;
SELECT code_mark_consumed(h, meta), count(*) FROM codes WHERE state IN ('redeemed', 'reused') GROUP BY 1;
SELECT status, count(*) FROM codes, code_take(h) WHERE state = 'reused' GROUP BY 1;
SELECT count(code_record_access_token(family_id, family_id || ' ' || day, pg_temp.day(day)))
FROM (VALUES ('f', 1), ('f', -1), ('f', -40), ('other', -1), ('revoked', 1), ('revoked', -1)) tokens(family_id, day);
SELECT code_revoke_family(family_id) FROM unnest(ARRAY['revoked', 'revoked without tokens', 'long ago', 'long ago of a token', 'long ago of an expired token']) family_id;
SELECT code_record_access_token('long ago of a token', 'born revoked', pg_temp.day(1)), code_record_access_token('long ago of an expired token', 'born expired', pg_temp.day(-1));
UPDATE authorization_revoked_families SET revoked_at = now() - interval '31 days' WHERE family_id LIKE 'long ago%';
UPDATE authorization_revoked_families SET revoked_at = now() - interval '29 days' WHERE family_id = 'revoked without tokens';
-- All were spent long enough ago.
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
SELECT count(*) FROM authorizations;

SELECT code_sweep();
SELECT code_hash, consumed_success AS redeemed, retain_from = expires_at AS retained, retain_from < now() AS soon FROM authorizations ORDER BY 1;
SELECT family_id, jti, revoked_at IS NOT NULL AS stored_revoked, code_access_token_revoked(jti) AS revoked FROM authorization_access_tokens ORDER BY jti;
SELECT family_id FROM authorization_revoked_families ORDER BY 1;
-- Nothing is left to do.
SELECT code_sweep();
SELECT count(*) FROM authorizations;
SELECT status FROM code_take('redeemed of a family');
SELECT code_access_token_revoked(jti) FROM unnest(ARRAY['revoked 1', 'born revoked', 'f 1']) jti;

-- Expired longer ago than a timestamp is long, and later than it can say.
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
SELECT count(code_put(h::text, :'grant'::jsonb || '{"family_id": "f"}', h)) FROM unnest(ARRAY[-210866803200, 253402300799]) h;
SELECT count(code_put('redeemed ' || h, :'grant'::jsonb || '{"family_id": "g"}', h)) FROM unnest(ARRAY[-210866803200, 253402300799]) h;
SELECT count(*) FROM unnest(ARRAY[-210866803200, 253402300799]) h, code_take('redeemed ' || h), code_mark_consumed('redeemed ' || h);
SELECT code_record_access_token('f', 'first', -210866803200), code_record_access_token('g', 'last', 253402300799);
SELECT code_sweep();
SELECT code_hash FROM authorizations ORDER BY 1;
SELECT jti FROM authorization_access_tokens;
TRUNCATE authorizations, authorization_access_tokens;
