-- Strictly later than its time: nothing goes in the second in which it expires, or in which its retention ends. A revocation is kept an hour, or for the retention if that is longer.
SET attesto_codes.reuse_retention = '100s';
-- Tried again if a second ends during the test. The rows are committed, because a sweep sees no others.
DO $$
DECLARE
  data CONSTANT jsonb := '{"client_id": "c", "subject": "s", "redirect_uri": "r"}';
  second bigint; removed bigint; again bigint;
BEGIN
  FOR try IN 1 .. 100 LOOP
    DELETE FROM authorizations;
    DELETE FROM authorization_access_tokens;
    DELETE FROM authorization_revoked_families;
    second := extract(epoch FROM date_trunc('second', clock_timestamp()));
    FOR before IN 0 .. 1 LOOP
      PERFORM code_put('live ' || before, data, second - before), code_put('spent ' || before, data, second - before),
        code_put('redeemed ' || before, data, second - 100 - before);
      PERFORM code_put('redeemed of a token ' || before, data || jsonb_build_object('family_id', before::text), 1);
      PERFORM code_take(h || before) FROM unnest(ARRAY['spent ', 'redeemed ', 'redeemed of a token ']) h;
      -- A spent code is kept for ten minutes, which are over.
      UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash LIKE '%' || before;
      PERFORM code_mark_consumed(h || before) FROM unnest(ARRAY['redeemed ', 'redeemed of a token ']) h;
      PERFORM code_record_access_token(before::text, 'token ' || before, second - before);
      INSERT INTO authorization_revoked_families VALUES (to_timestamp(second - 3600 - before), 'family ' || before);
    END LOOP;
    COMMIT;
    removed := code_sweep();
    again := code_sweep();
    IF second = extract(epoch FROM date_trunc('second', clock_timestamp())) THEN
      RAISE NOTICE 'removed %, then %', removed, again;
      EXIT;
    END IF;
  END LOOP;
END $$;
SELECT code_hash FROM authorizations ORDER BY 1;
SELECT jti FROM authorization_access_tokens;
SELECT family_id FROM authorization_revoked_families;

-- In the next one they go.
SELECT pg_sleep_until(date_trunc('second', clock_timestamp()) + interval '1 second');
SELECT code_sweep();
SELECT code_sweep();
RESET attesto_codes.reuse_retention;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
