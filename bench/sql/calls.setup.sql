-- Microseconds of a call of the function that the search_path leads to, on average.
CREATE FUNCTION by_hand.microseconds(call text, keys text[], data jsonb, expires_at bigint) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
  key text;
  begun timestamptz := clock_timestamp();
BEGIN
  CASE call
    WHEN 'code_put' THEN FOREACH key IN ARRAY keys LOOP PERFORM code_put(key, data, expires_at); END LOOP;
    WHEN 'code_get' THEN FOREACH key IN ARRAY keys LOOP PERFORM FROM code_get(key); END LOOP;
    WHEN 'code_take' THEN FOREACH key IN ARRAY keys LOOP PERFORM FROM code_take(key); END LOOP;
    WHEN 'code_redeem' THEN
      FOREACH key IN ARRAY keys LOOP
        PERFORM FROM code_redeem(key, 's6BhdRkqt3.example-app', 'https://app.example.com/oauth/callback',
                                 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk', NULL, '{}');
      END LOOP;
  END CASE;
  RETURN round(1e6 * extract(epoch FROM clock_timestamp() - begun) / cardinality(keys), 3);
END $$;
