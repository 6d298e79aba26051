-- What a good engineer would write in PL/pgSQL: the statements of code_put, code_get and code_take on the
-- same table, with the same jsonb in and out. They check nothing of the grant, and a take is neither
-- kept from a rollback nor does it tell reuse from any other presentation.
CREATE SCHEMA by_hand;

CREATE FUNCTION by_hand.code_put(code_hash text, data jsonb, expires_at bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO authorizations (expires_at, inserted_at, consumed_success, code_hash, client_id, subject, redirect_uri,
                              scope, resource, code_challenge, code_challenge_method, cnf, nonce, family_id, claims, extra)
  SELECT to_timestamp($3), now(), false, $1, client_id, subject, redirect_uri, coalesce(scope, '{}'), coalesce(resource, '{}'),
         code_challenge, CASE WHEN code_challenge IS NOT NULL THEN 'S256' END,
         CASE WHEN dpop_jkt IS NOT NULL THEN jsonb_build_object('jkt', dpop_jkt) END, nonce, family_id, coalesce(claims, '{}'),
         nullif($2 - ARRAY['client_id', 'subject', 'redirect_uri', 'scope', 'resource', 'code_challenge', 'code_challenge_method',
                           'dpop_jkt', 'nonce', 'family_id', 'claims'], '{}')
  FROM jsonb_to_record($2) AS grant_of (client_id text, subject text, redirect_uri text, scope text[], resource text[],
                                        code_challenge text, dpop_jkt text, nonce text, family_id text, claims jsonb);
END $$;

CREATE FUNCTION by_hand.code_get(code_hash text) RETURNS TABLE (data jsonb, expires_at bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY
  SELECT jsonb_build_object('client_id', a.client_id, 'subject', a.subject, 'redirect_uri', a.redirect_uri, 'scope', a.scope,
           'resource', a.resource, 'code_challenge', a.code_challenge, 'code_challenge_method', a.code_challenge_method,
           'dpop_jkt', a.cnf -> 'jkt', 'nonce', a.nonce, 'family_id', a.family_id, 'claims', a.claims) || coalesce(a.extra, '{}'),
         extract(epoch FROM a.expires_at)::bigint
  FROM authorizations AS a WHERE a.code_hash = $1 AND a.consumed_at IS NULL;
END $$;

CREATE FUNCTION by_hand.code_take(code_hash text) RETURNS TABLE (status text, data jsonb, expires_at bigint, meta jsonb)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
  UPDATE authorizations AS a SET consumed_at = now() WHERE a.code_hash = $1 AND a.consumed_at IS NULL
  RETURNING 'ok', jsonb_build_object('client_id', a.client_id, 'subject', a.subject, 'redirect_uri', a.redirect_uri, 'scope', a.scope,
              'resource', a.resource, 'code_challenge', a.code_challenge, 'code_challenge_method', a.code_challenge_method,
              'dpop_jkt', a.cnf -> 'jkt', 'nonce', a.nonce, 'family_id', a.family_id, 'claims', a.claims) || coalesce(a.extra, '{}'),
            extract(epoch FROM a.expires_at)::bigint, NULL::jsonb;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'error', NULL::jsonb, NULL::bigint, NULL::jsonb;
  END IF;
END $$;

-- The checks of code_redeem and the spend with its mark in one statement.
CREATE FUNCTION by_hand.code_redeem(code_hash text, client_id text, redirect_uri text, code_verifier text, dpop_jkt text, meta jsonb)
RETURNS TABLE (status text, reason text, data jsonb, expires_at bigint, meta_of_reuse jsonb)
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
  UPDATE authorizations AS a SET consumed_at = now(), consumed_success = true, consumed_meta = nullif($6, '{}')
  WHERE a.code_hash = $1 AND a.consumed_at IS NULL AND a.expires_at > now() AND a.client_id = $2
    AND (a.redirect_uri = $3 OR $3 IS NULL AND a.code_challenge IS NOT NULL)
    AND CASE WHEN a.code_challenge IS NULL THEN $4 IS NULL
             ELSE $4 ~ '^[A-Za-z0-9._~-]{43,128}$'
                  AND a.code_challenge = rtrim(translate(encode(sha256($4::bytea), 'base64'), '+/', '-_'), '=') END
    AND (a.cnf IS NULL OR a.cnf ->> 'jkt' = $5)
  RETURNING 'ok', NULL, jsonb_build_object('client_id', a.client_id, 'subject', a.subject, 'redirect_uri', a.redirect_uri,
              'scope', a.scope, 'resource', a.resource, 'code_challenge', a.code_challenge,
              'code_challenge_method', a.code_challenge_method, 'dpop_jkt', a.cnf -> 'jkt', 'nonce', a.nonce,
              'family_id', a.family_id, 'claims', a.claims) || coalesce(a.extra, '{}'),
            extract(epoch FROM a.expires_at)::bigint, NULL::jsonb;
  IF NOT FOUND THEN
    RETURN QUERY SELECT 'error', 'spent', NULL::jsonb, NULL::bigint, NULL::jsonb;
  END IF;
END $$;
