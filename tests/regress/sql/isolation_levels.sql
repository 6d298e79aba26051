-- The whole cycle works in every isolation level.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM authorizations;
SELECT code_put('rr', :'grant', 1800000000);
SELECT expires_at FROM code_get('rr');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT status, expires_at FROM code_take('rr');
SELECT status FROM code_take('rr');
SELECT count(*) FROM code_get('rr');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT code_mark_consumed('rr');
SELECT status, meta FROM code_take('rr');
COMMIT;

BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM authorizations;
SELECT code_put('ser', :'grant', 1800000000);
SELECT expires_at FROM code_get('ser');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status, expires_at FROM code_take('ser');
SELECT status FROM code_take('ser');
SELECT count(*) FROM code_get('ser');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT code_mark_consumed('ser');
SELECT status, meta FROM code_take('ser');
COMMIT;

SELECT code_put('deferrable', :'grant', 1800000000);
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT expires_at FROM code_get('deferrable');
COMMIT;
TRUNCATE authorizations;
