-- No error holds a code, a hash or a member's value in any of its fields.
CREATE FUNCTION pg_temp.error(call text, OUT code text, OUT leaks boolean) LANGUAGE plpgsql AS $$
DECLARE f1 text; f2 text; f3 text; f4 text; f5 text; f6 text; f7 text; f8 text; f9 text;
BEGIN
  EXECUTE call USING 'SECRET-hash', '{"client_id": "SECRET", "subject": "SECRET", "redirect_uri": "SECRET", "nonce": "SECRET"}'::jsonb;
  code := 'none';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, f1 = MESSAGE_TEXT, f2 = PG_EXCEPTION_DETAIL, f3 = PG_EXCEPTION_HINT,
    f4 = PG_EXCEPTION_CONTEXT, f5 = COLUMN_NAME, f6 = CONSTRAINT_NAME, f7 = PG_DATATYPE_NAME, f8 = TABLE_NAME, f9 = SCHEMA_NAME;
  leaks := concat_ws(' ', f1, f2, f3, f4, f5, f6, f7, f8, f9) ~ 'SECRET';
END $$;
SELECT code_put('SECRET-hash', '{"client_id": "SECRET", "subject": "SECRET", "redirect_uri": "SECRET", "nonce": "SECRET"}', 1800000000);
SELECT code_record_access_token('SECRET-hash', 'SECRET-hash', 1800000000);
SELECT count(code_put(h, '{"client_id": "SECRET", "subject": "SECRET", "redirect_uri": "SECRET"}'::jsonb || jsonb_build_object('family_id', h), 4102444800))
FROM unnest('{SECRET-closed,SECRET-replayed,SECRET-revoked,SECRET-spent}'::text[]) h;
SELECT h, reason FROM unnest('{SECRET-replayed,SECRET-revoked,SECRET-spent}'::text[]) h, code_redeem(h, 'SECRET', 'SECRET');
SELECT reason FROM code_redeem('SECRET-closed', 'SECRET', 'SECRET', 'SECRET');
SELECT reason FROM code_redeem('SECRET-replayed', 'SECRET', 'SECRET');
SELECT code_revoke_family('SECRET-revoked');
SELECT n, code, leaks FROM (VALUES
  (1, 'SELECT code_put($1, $2, 1800000000)'),
  (2, 'SELECT code_mark_consumed($1)'),
  (3, 'SELECT code_put($1, to_jsonb($1), 1800000000)'),
  (4, 'SELECT code_put($1, $2 || jsonb_build_object(''scope'', $1), 1800000000)'),
  (5, 'SELECT code_put($1, $2 || jsonb_build_object(''claims'', $1), 1800000000)'),
  (6, 'SELECT code_put($1, $2 || jsonb_build_object(''nonce'', ARRAY[$1]), 1800000000)'),
  (7, 'SELECT code_put($1, $2 || jsonb_build_object(''code_challenge_method'', $1), 1800000000)'),
  (8, 'SELECT code_put($1, $2 - ''subject'', 1800000000)'),
  (9, 'SELECT code_put(repeat($1, 30), $2, 1800000000)'),
  (10, 'SELECT code_take(repeat($1, 30))'),
  (11, 'SELECT code_put($1 || 1, $2, 9223372036854775807)'),
  (12, 'SELECT code_mark_consumed($1, to_jsonb($1))'),
  (13, 'SELECT code_put($1, NULL, 1800000000)'),
  (14, 'SELECT code_record_access_token($1, $1, 1800000000)'),
  (15, 'SELECT code_record_access_token(repeat($1, 100), $1, 1800000000)'),
  (16, 'SELECT code_record_access_token($1, repeat($1, 100), 1800000000)'),
  (17, 'SELECT code_record_access_token($1, $1 || 1, 9223372036854775807)'),
  (18, 'SELECT code_record_access_token($1, $1, NULL)'),
  (19, 'SELECT code_revoke_family(repeat($1, 100))'),
  (20, 'SELECT code_access_token_revoked(repeat($1, 100))'),
  (21, 'SELECT code_redeem(repeat($1, 30), $1, $1, $1, $1)'),
  (22, 'SELECT code_redeem($1, NULL, $1, $1, $1, $2)'),
  (23, 'SELECT code_redeem($1, $1, $1, $1, $1, to_jsonb($1))'),
  (24, 'SELECT code_redeem($1, $1, $1, $1, $1, jsonb_build_object(''family_id'', $2))'),
  (25, 'SELECT code_redeem($1, $1, $1, $1, $1, jsonb_build_object(''family_id'', repeat($1, 100)))'),
  (26, 'SELECT code_redeem($1, $1, $1, $1, $1, jsonb_build_object(''m'', repeat($1, 500)))'),
  (27, 'SELECT code_complete($1, $1, 4102444800)'),
  (28, 'SELECT code_complete($1 || 1)'),
  (29, 'SELECT code_complete(repeat($1, 30))'),
  (30, 'SELECT code_complete($1, repeat($1, 100), 4102444800)'),
  (31, 'SELECT code_complete($1, $1)'),
  (32, 'SELECT code_complete($1, $1, 9223372036854775807)'),
  (33, 'SELECT code_complete($1, $1, 4102444800, to_jsonb($1))'),
  (34, 'SELECT code_complete($1, $1, 4102444800, jsonb_build_object(''family_id'', $2))'),
  (35, 'SELECT code_complete(replace($1, ''hash'', ''closed''), $1 || 2, 4102444800)'),
  (36, 'SELECT code_complete(replace($1, ''hash'', ''replayed''), $1 || 2, 4102444800)'),
  (37, 'SELECT code_complete(replace($1, ''hash'', ''revoked''), $1 || 2, 4102444800)'),
  (38, 'SELECT code_complete(replace($1, ''hash'', ''spent''), $1, 4102444800)'),
  (39, 'SELECT code_issue($2, 0)'),
  (40, 'SELECT code_issue(to_jsonb($1))'),
  (41, 'SELECT code_inspect(repeat($1, 30))'),
  (42, 'SELECT code_family_revoked(repeat($1, 100))')) calls(n, call), pg_temp.error(call) ORDER BY n;
-- The measure does move.
SELECT code, leaks FROM pg_temp.error('SELECT $1::integer');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families;
