-- A TRUNCATE of the tables, as in test suites between two tests, ends the run of the codes that a crash spends. The next put begins another run, also in the session that knew the old one.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
SELECT current_user AS superuser \gset
CREATE EXTENSION dblink;
SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database(), current_user));
-- Takes in the other session, which stays, and so knows what it has seen.
CREATE FUNCTION take_elsewhere(VARIADIC hashes text[]) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT concat(h, ': ', status) FROM unnest(hashes) h, dblink('other', format('SELECT status FROM code_take(%L)', h)) t(status text) $$;
CREATE VIEW runs AS SELECT (SELECT count(*) FROM authorization_runs) AS runs, (SELECT count(*) FROM authorizations WHERE run IN (SELECT r.run FROM authorization_runs r)) AS codes_of_them, (SELECT count(*) FROM authorizations) AS codes;
SET attesto_codes.codes_survive_crash = off;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{a1,a2,a3}'::text[]) h;
SELECT status FROM code_take('a1');
SELECT take_elsewhere('a2');

TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{b1,b2,b3}'::text[]) h;
SELECT * FROM runs;
SELECT status FROM code_take('b1');
SELECT code_mark_consumed('b1');
SELECT take_elsewhere('b1', 'b2', 'a3');

-- Row by row.
DELETE FROM authorizations;
DELETE FROM authorization_access_tokens;
DELETE FROM authorization_revoked_families;
DELETE FROM authorization_runs;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{c1,c2,c3}'::text[]) h;
SELECT * FROM runs;
SELECT status FROM code_take('c1');
SELECT take_elsewhere('c2', 'b3');

-- Within a transaction, which commits, or does not.
BEGIN;
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{d1,d2,d3}'::text[]) h;
SELECT status FROM code_take('d1');
ROLLBACK;
SELECT * FROM runs;
SELECT code_put('c4', :'grant', 4102444800);
SELECT take_elsewhere('c3', 'c4', 'd2');
BEGIN;
SAVEPOINT s;
TRUNCATE authorizations, authorization_runs;
SELECT code_put('e1', :'grant', 4102444800);
ROLLBACK TO s;
SELECT code_put('e2', :'grant', 4102444800);
TRUNCATE authorizations, authorization_runs;
SELECT code_put('e3', :'grant', 4102444800), code_put('e4', :'grant', 4102444800);
DELETE FROM authorization_runs;
DELETE FROM authorizations;
SELECT code_put('e5', :'grant', 4102444800), code_put('e6', :'grant', 4102444800);
SELECT status FROM code_take('e5');
COMMIT;
SELECT * FROM runs;
SELECT take_elsewhere('e3', 'e5', 'e6');

-- By the other session, while this one has a put open.
SELECT code_put('f1', :'grant', 4102444800);
SELECT dblink_exec('other', 'TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs');
SELECT code_put(h, :'grant', 4102444800) FROM unnest('{f2,f3,f4}'::text[]) h;
SELECT * FROM runs;
SELECT status FROM code_take('f2');
SELECT take_elsewhere('f3', 'f1');
-- For a session that comes later, too.
\c - :superuser
SELECT status FROM code_take('f4');
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('f5', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 4102444800);
SELECT * FROM runs;
\c - :superuser
SELECT status FROM code_take('f5');
DROP VIEW runs;
DROP FUNCTION take_elsewhere;
DROP EXTENSION dblink;
TRUNCATE authorizations, authorization_runs;
