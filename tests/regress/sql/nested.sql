-- A grant whose members nest deeper than the stack allows can be stored, because opaque values are not looked into.
CREATE TABLE grants AS
SELECT depth, format('{"client_id": "c", "subject": "s", "redirect_uri": "r", "x": %s%s}',
  repeat('[', depth), repeat(']', depth))::jsonb AS data
FROM generate_series(100, 5000, 100) depth;
SET max_stack_depth = '200kB';
DO $$
DECLARE entry grants; stored int := 0; refused int := 0;
BEGIN
  FOR entry IN SELECT * FROM grants LOOP
    BEGIN
      PERFORM code_put('h' || entry.depth, entry.data, 1800000000);
      stored := stored + 1;
    EXCEPTION WHEN statement_too_complex THEN refused := refused + 1;
    END;
  END LOOP;
  RAISE NOTICE 'stored some: %, refused some: %', stored > 0, refused > 0;
END $$;
RESET max_stack_depth;
SELECT count(*) FILTER (WHERE status <> 'ok') AS lost
FROM (SELECT code_hash FROM authorizations) a, code_take(code_hash);
DROP TABLE grants;
TRUNCATE authorizations;
