-- A redeemed code outlives its retention for as long as a token of its family lives, and no longer.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE FUNCTION pg_temp.day(days integer) RETURNS bigint LANGUAGE sql AS $$ SELECT extract(epoch FROM now())::bigint + days * 86400 $$;
-- Lets days go by: what the tables hold is that much older.
CREATE PROCEDURE pg_temp.later(days integer) LANGUAGE sql AS $$
  UPDATE authorizations SET expires_at = expires_at - make_interval(days => days), consumed_at = consumed_at - make_interval(days => days),
    retain_from = retain_from - make_interval(days => days);
  UPDATE authorization_access_tokens SET expires_at = expires_at - make_interval(days => days);
  UPDATE authorization_revoked_families SET revoked_at = revoked_at - make_interval(days => days);
$$;
-- In days from now: when the code was retained from, and the last token of its family expires.
CREATE TEMP VIEW state AS
  SELECT code_hash, round(extract(epoch FROM retain_from - now()) / 86400) AS retain_from,
    (SELECT round(max(extract(epoch FROM t.expires_at - now())) / 86400) FROM authorization_access_tokens t WHERE t.family_id = a.family_id) AS last_token
  FROM authorizations a;
SELECT count(code_put(f, :'grant'::jsonb || jsonb_build_object('family_id', f), pg_temp.day(-1))) FROM unnest(ARRAY['none', 'short', 'long', 'longer']) f;
SELECT count(*) FROM unnest(ARRAY['none', 'short', 'long', 'longer']) f, code_take(f), code_mark_consumed(f);
SELECT count(code_record_access_token(f, f || ' ' || day, pg_temp.day(day)))
FROM (VALUES ('short', -2), ('short', 10), ('long', 100), ('long', -2), ('long', 50), ('longer', 100)) tokens(f, day);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;

-- The retention ends, and there is no token, or none any more.
CALL pg_temp.later(30);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;
SELECT status FROM code_take('short');

-- A token that is recorded after the code was retained counts as well.
SELECT code_record_access_token('longer', 'longer 200', pg_temp.day(200));
CALL pg_temp.later(60);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;
CALL pg_temp.later(11);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;
SELECT f, status FROM unnest(ARRAY['long', 'longer']) f, code_take(f);

-- The revocation of a family lasts as long as its tokens, and the code of its tokens as well.
SELECT code_revoke_family('longer');
CALL pg_temp.later(128);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;
SELECT code_record_access_token('longer', 'longer 1', pg_temp.day(1));
SELECT code_access_token_revoked(jti) FROM unnest(ARRAY['longer 1', 'longer 200']) jti;
CALL pg_temp.later(3);
SELECT code_sweep();
SELECT * FROM state ORDER BY 1;
SELECT count(*) FROM authorization_access_tokens;
SELECT count(*) FROM authorization_revoked_families;
