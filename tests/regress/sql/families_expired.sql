-- Only a token that has not expired counts as revoked: from the second of its expires_at on it does not.
SELECT code_record_access_token('f', 'expired', 1);
SELECT code_record_access_token('f', 'valid', 4102444800);
SELECT code_record_access_token('f', 'first', -210866803200), code_record_access_token('f', 'last', 253402300799);
SELECT code_revoke_family('f');
SELECT code_record_access_token('f', 'born expired', 1);
SELECT jti, revoked_at IS NOT NULL AS stored_revoked, code_access_token_revoked(jti) AS answer FROM authorization_access_tokens ORDER BY jti;

-- To the second. Tried again if a second ends during the test.
DO $$
DECLARE now bigint; this boolean; next boolean;
BEGIN
  FOR try IN 1 .. 100 LOOP
    now := extract(epoch FROM date_trunc('second', clock_timestamp()));
    PERFORM code_record_access_token('f', 'this second ' || try, now), code_record_access_token('f', 'next second ' || try, now + 1);
    this := code_access_token_revoked('this second ' || try);
    next := code_access_token_revoked('next second ' || try);
    IF now = extract(epoch FROM date_trunc('second', clock_timestamp())) THEN
      RAISE NOTICE 'this second: %, next second: %', this, next;
      EXIT;
    END IF;
  END LOOP;
END $$;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
