-- CREATE EXTENSION makes the functions callable by their bare name; DROP EXTENSION leaves nothing; both again in one session.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
CREATE TEMP VIEW objects AS
  SELECT (SELECT count(*) FROM pg_class) AS classes, (SELECT count(*) FROM pg_proc) AS functions,
    (SELECT count(*) FROM pg_type) AS types, (SELECT count(*) FROM pg_constraint) AS constraints,
    (SELECT count(*) FROM pg_namespace) AS schemas, (SELECT count(*) FROM pg_description) AS comments,
    (SELECT count(*) FROM pg_depend) AS dependencies, (SELECT count(*) FROM pg_init_privs) AS privileges;
SELECT objects::text AS before FROM objects \gset

CREATE EXTENSION attesto_codes;
SELECT code_put('h', :'least', 4102444800);
SELECT expires_at FROM code_get('h');
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h');
SELECT length(code_hash('x'));
SELECT code_record_access_token('f', 'j', 4102444800), code_revoke_family('f'), code_access_token_revoked('j');
SELECT code_sweep();
SELECT redeemed, families_revoked FROM code_stats();
SELECT objects::text = :'before' AS unchanged FROM objects;

DROP EXTENSION attesto_codes;
SELECT objects::text = :'before' AS unchanged FROM objects;
SELECT status FROM code_take('h');

CREATE EXTENSION attesto_codes;
SELECT status FROM code_take('h');
SELECT code_put('h', :'least', 4102444800);
SELECT expires_at FROM code_get('h');
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h');
SELECT count(*) FROM authorizations;
TRUNCATE authorizations;
