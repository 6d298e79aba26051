-- A code that is put in the transaction that takes it is its own also where a trigger has changed the row since; and one that somebody else has put is not.
\set SHOW_CONTEXT never
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE public.authorizations SET nonce = nonce WHERE code_hash = NEW.code_hash; RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON authorizations FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER b AFTER UPDATE OF consumed_at ON authorizations FOR EACH ROW EXECUTE FUNCTION touch();
BEGIN;
SELECT code_put('undone', :'grant', 4102444800);
SELECT status FROM code_take('undone');
SELECT status FROM code_take('undone');
SELECT code_mark_consumed('undone');
ROLLBACK;
SELECT count(*) FROM authorizations;

-- A savepoint between the two does not give it twice, within the transaction and after it.
BEGIN;
SELECT code_put('own', :'grant', 4102444800);
SAVEPOINT s;
SELECT status FROM code_take('own');
ROLLBACK TO s;
SELECT status FROM code_take('own');
SELECT count(*) FROM code_get('own');
COMMIT;
SELECT status FROM code_take('own');
BEGIN;
SAVEPOINT s;
SELECT code_put('own 2', :'grant', 4102444800);
SAVEPOINT t;
SELECT status FROM code_take('own 2');
ROLLBACK TO t;
RELEASE t;
RELEASE s;
SELECT code_mark_consumed('own 2');
COMMIT;
SELECT status FROM code_take('own 2');
SELECT code_hash, consumed_at IS NOT NULL AS spent, consumed_success AS redeemed FROM authorizations ORDER BY 1;

-- The put was rolled back, and another session's took its place: changed by hand it is not this transaction's, and nobody can spend it now.
BEGIN;
SAVEPOINT s;
SELECT code_put('of another', :'grant', 4102444800);
ROLLBACK TO s;
SELECT * FROM dblink('other', $$SELECT 'put' FROM code_put('of another', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800)$$) a(answer text);
UPDATE authorizations SET nonce = 'n' WHERE code_hash = 'of another';
SELECT status FROM code_take('of another');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT status FROM code_take('of another');

SELECT dblink_disconnect('other');
DROP EXTENSION dblink;
DROP TRIGGER a ON authorizations;
DROP TRIGGER b ON authorizations;
DROP FUNCTION touch;
TRUNCATE authorizations;
