-- A sweep tries each row that is refused once, however many lie at the same instant, and goes on where a commit is refused.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SET attesto_codes.reuse_retention = 0;
CREATE SEQUENCE tries;
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nextval('public.tries');
  IF OLD.subject = 'kept' THEN
    RAISE EXCEPTION 'kept';
  END IF;
  RETURN OLD;
END $$;
SELECT count(code_put('code ' || n, :'grant'::jsonb || jsonb_build_object('subject', CASE WHEN n % 2 = 0 THEN 'kept' ELSE 'free' END), 1000)) FROM generate_series(1, 600) n;
CREATE TRIGGER t BEFORE DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION guard();
SELECT code_sweep();
SELECT count(*) FROM authorizations;
-- Each once, and some more where a sweep went back to a step that had failed.
SELECT last_value BETWEEN 600 AND 700 AS tried_once FROM tries;
DROP FUNCTION guard CASCADE;
DROP SEQUENCE tries;

-- A trigger that defers the others, so that it is the commit which is refused.
TRUNCATE authorizations;
SELECT count(code_put('code ' || n, :'grant', 1000 + n)) FROM generate_series(1, 120) n;
CREATE TABLE gone (code text);
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SET CONSTRAINTS ALL DEFERRED;
  INSERT INTO public.gone VALUES (OLD.code_hash);
  RETURN OLD;
END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER t BEFORE DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION move();
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON gone DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.code = 'code 60') EXECUTE FUNCTION refuse();
SELECT code_sweep();
SELECT code_hash FROM authorizations;
SELECT count(*) FROM gone;
DROP FUNCTION move, refuse CASCADE;
DROP TABLE gone;
TRUNCATE authorizations;
RESET attesto_codes.reuse_retention;
