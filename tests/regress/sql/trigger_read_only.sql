-- What the database has as its default for transactions is not for those of the workers.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT current_database() AS db \gset
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER t AFTER UPDATE OR DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT count(code_put(h, :'grant', 1)) FROM unnest('{alone,inside}'::text[]) h;
ALTER DATABASE :"db" SET default_transaction_read_only = on;
\c -
BEGIN READ WRITE;
SELECT status FROM code_take('inside');
COMMIT;
SET default_transaction_read_only = off;
SELECT status FROM code_take('alone');
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes';
SELECT code_sweep();
ALTER DATABASE :"db" RESET default_transaction_read_only;
\c -
DROP FUNCTION nothing CASCADE;
TRUNCATE authorizations;
