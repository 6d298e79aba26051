-- A live code is expired from the second of its expires_at on, by the clock at the call. A spent or redeemed one is looked at no more.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
\pset null '-'
-- The answer for a code that expires so many seconds from now. It tries again if the clock moved on to the next second meanwhile.
CREATE FUNCTION pg_temp.answer(seconds bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE second bigint; h text; answer text;
BEGIN
  FOR i IN 1 .. 1000 LOOP
    second := floor(extract(epoch FROM clock_timestamp()));
    h := 'expires ' || seconds || ', try ' || i;
    PERFORM code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', second + seconds);
    SELECT concat_ws(' ', status, reason) INTO answer FROM code_redeem(h, 'c', 'r');
    IF second = floor(extract(epoch FROM clock_timestamp())) THEN RETURN answer; END IF;
  END LOOP;
  RAISE EXCEPTION 'the clock runs too fast';
END $$;
SELECT seconds, pg_temp.answer(seconds) FROM unnest('{-1000000000,-2,-1,0,1,2,1000000000}'::bigint[]) seconds;
SELECT code_put('first', :'grant', -210866803200);
SELECT reason FROM code_redeem('first', 'c', 'r');
SELECT consumed_at = replayed_at AS closed FROM authorizations WHERE code_hash = 'first';
-- The clock goes on inside a transaction.
BEGIN;
SELECT code_put('inside', :'grant', floor(extract(epoch FROM now()))::bigint + 1);
SELECT pg_sleep_until(date_trunc('second', now()) + interval '1 second');
SELECT status, reason FROM code_redeem('inside', 'c', 'r');
COMMIT;

-- Before it is spent, between the spend and the mark, and after it.
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{live,spent,redeemed}'::text[]) h;
SELECT h, status FROM unnest('{spent,redeemed}'::text[]) h, code_redeem(h, 'c', 'r');
SELECT code_complete('redeemed');
UPDATE authorizations SET expires_at = '2000-01-01' WHERE code_hash IN ('live', 'spent', 'redeemed');
SELECT h, status, reason FROM unnest('{live,spent,redeemed}'::text[]) h, code_redeem(h, 'c', 'r');
-- It can be completed after its expiry.
SELECT code_put('late', :'grant', 4102444800);
SELECT status FROM code_redeem('late', 'c', 'r');
UPDATE authorizations SET expires_at = '2000-01-01' WHERE code_hash = 'late';
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash <> 'late';
SELECT code_sweep() > 0 AS swept;
SELECT code_complete('late', 'late', 4102444800);
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
