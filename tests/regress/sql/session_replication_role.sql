-- A trigger fires as it is enabled and as session_replication_role says: that of the caller, also where a worker writes.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE TABLE fired (name text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (TG_NAME); RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER a_disabled BEFORE INSERT OR UPDATE OR DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER b_origin BEFORE INSERT OR UPDATE OR DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION fire();
CREATE TRIGGER c_always AFTER INSERT OR UPDATE OR DELETE ON authorizations FOR EACH STATEMENT EXECUTE FUNCTION fire();
CREATE CONSTRAINT TRIGGER d_replica AFTER INSERT OR UPDATE OR DELETE ON authorizations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fire();
ALTER TABLE authorizations DISABLE TRIGGER a_disabled;
ALTER TABLE authorizations ENABLE ALWAYS TRIGGER c_always;
ALTER TABLE authorizations ENABLE REPLICA TRIGGER d_replica;
CREATE FUNCTION fired() RETURNS text LANGUAGE sql AS $$ WITH gone AS (DELETE FROM fired RETURNING *) SELECT string_agg(name, ' ' ORDER BY name) FROM gone $$;

-- As usual.
SELECT code_put('o1', :'grant', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('o1');
SELECT fired() AS take;
SELECT code_mark_consumed('o1');
SELECT fired() AS mark;

-- As a replica does.
SET session_replication_role = replica;
SELECT code_put('r1', :'grant', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('r1');
SELECT fired() AS take;
SELECT status FROM code_take('r1');
SELECT fired() AS replay;
SELECT code_mark_consumed('r1');
SELECT fired() AS mark;
BEGIN;
SELECT status FROM code_take('r1');
ROLLBACK;
SELECT fired() AS reuse;
SET attesto_codes.take_in_transaction = join;
SELECT code_put('r2', :'grant', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('r2');
SELECT fired() AS take;
RESET attesto_codes.take_in_transaction;
-- For the time of one transaction, and of one function.
SET session_replication_role = origin;
SELECT count(code_put(h, :'grant', 4102444800)) FROM unnest('{l1,l2,l3}'::text[]) h;
SELECT fired() AS puts;
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT status FROM code_take('l1');
COMMIT;
SELECT fired() AS take;
SELECT status FROM code_take('l2');
SELECT fired() AS take;
CREATE FUNCTION take(h text) RETURNS text SET session_replication_role = replica LANGUAGE sql AS $$ SELECT status FROM code_take(h) $$;
SELECT take('l3');
SELECT fired() AS take;
SET session_replication_role = local;
SELECT code_put('l4', :'grant', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('l4');
SELECT fired() AS take;
RESET session_replication_role;

-- What the database has counts for the sessions to come, a worker's among them, and not for this one.
ALTER DATABASE :"DBNAME" SET session_replication_role = replica;
SELECT code_put('d1', :'grant', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('d1');
SELECT fired() AS take;
\c -
SELECT code_put('d2', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
SELECT fired() AS put;
SELECT status FROM code_take('d2');
SELECT fired() AS take;
ALTER DATABASE :"DBNAME" RESET session_replication_role;
\c -

-- A sweep.
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1)) FROM unnest('{s1,s2}'::text[]) h;
SELECT fired() AS puts;
SELECT code_sweep(1);
SELECT fired() AS sweep;
SET session_replication_role = replica;
SELECT code_sweep(1);
SELECT fired() AS sweep;
RESET session_replication_role;

-- Where no trigger fires, all else is as ever.
ALTER TABLE authorizations DISABLE TRIGGER ALL;
SELECT code_put('n', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
SELECT status FROM code_take('n');
BEGIN;
SELECT status FROM code_take('n');
ROLLBACK;
SELECT code_mark_consumed('n');
SELECT fired();

DROP TRIGGER a_disabled ON authorizations;
DROP TRIGGER b_origin ON authorizations;
DROP TRIGGER c_always ON authorizations;
DROP TRIGGER d_replica ON authorizations;
DROP FUNCTION fire, fired, take;
DROP TABLE fired;
TRUNCATE authorizations;
