-- A code that is presented again between its take and its mark: the mark answers replayed, whatever became of the replayer.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest(ARRAY['alone', 'committed', 'rolled back', 'savepoint', 'exception', 'one statement', 'got', 'marked in vain']) h;
SELECT h, status FROM unnest(ARRAY['alone', 'committed', 'rolled back', 'savepoint', 'exception', 'got', 'marked in vain']) h, code_take(h);

SELECT status FROM code_take('committed');
BEGIN;
SELECT status FROM code_take('rolled back');
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT status FROM code_take('savepoint');
ROLLBACK TO a;
COMMIT;
DO $$
BEGIN
  PERFORM code_take('exception');
  RAISE EXCEPTION 'failed';
EXCEPTION WHEN raise_exception THEN NULL;
END $$;
SELECT status FROM unnest(ARRAY['one statement', 'one statement']) h, code_take(h);
-- What reads only is no presentation.
SELECT count(*) FROM code_get('got');
BEGIN;
SELECT code_mark_consumed('marked in vain', '{"n": 0}');
ROLLBACK;

SELECT code_hash, consumed_at IS NOT NULL AS spent, replayed_at IS NOT NULL AS replayed FROM authorizations ORDER BY 1;
SELECT code_hash, code_mark_consumed(code_hash, '{"n": 1}') FROM authorizations ORDER BY 1;

-- The code is redeemed nevertheless. The first meta stays, and every later mark answers the same.
SELECT code_hash, code_mark_consumed(code_hash, '{"n": 2}') FROM authorizations ORDER BY 1;
SELECT code_hash, consumed_success, consumed_meta FROM authorizations ORDER BY 1;
SELECT status, meta FROM code_take('rolled back');

-- A mark that is rolled back does not use it up.
SELECT code_put('again', :'grant', 4102444800);
SELECT status FROM code_take('again');
SELECT status FROM code_take('again');
BEGIN;
SELECT code_mark_consumed('again');
ROLLBACK;
SELECT code_mark_consumed('again');

-- A later mark also answers replayed if the code was presented after the first mark.
SELECT code_put('reused', :'grant', 4102444800);
SELECT status FROM code_take('reused');
SELECT code_mark_consumed('reused');
SELECT code_mark_consumed('reused');
SELECT status FROM code_take('reused');
SELECT code_mark_consumed('reused');
TRUNCATE authorizations;
