-- Wherever a query takes a row, it gets the same one.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT count(code_put('h' || n, :'grant', 1800000000)) FROM generate_series(1, 6) n;
SELECT status, data ->> 'subject' AS subject, expires_at, meta FROM code_take('h1');
SELECT code_take('h1');
SELECT (code_get('h2')).expires_at, (code_get('h2')).data ->> 'client_id' AS client;
SELECT code_get('none');
SELECT n, status, expires_at FROM generate_series(2, 3) n, code_take('h' || n) ORDER BY n;
SELECT n, status FROM generate_series(3, 4) n LEFT JOIN LATERAL code_take('h' || n) ON true ORDER BY n;
SELECT t.* IS NULL AS none FROM (VALUES (1)) v LEFT JOIN code_get('none') t ON true;
SELECT * FROM ROWS FROM (code_get('h5'), generate_series(1, 2)) WITH ORDINALITY AS r (data, expires_at, n, at);
SELECT row_to_json(e) FROM code_get('h5') e (grants, ends);
-- Backwards and forwards.
BEGIN;
DECLARE entry SCROLL CURSOR FOR SELECT expires_at FROM code_get('h5');
FETCH LAST FROM entry;
FETCH NEXT FROM entry;
FETCH PRIOR FROM entry;
COMMIT;
DO $$
DECLARE taken record; entry record;
BEGIN
  SELECT * INTO entry FROM code_get('h6');
  SELECT * INTO STRICT taken FROM code_take('h6');
  RAISE NOTICE '% %', taken.status, taken.data = entry.data;
END $$;
TRUNCATE authorizations;
