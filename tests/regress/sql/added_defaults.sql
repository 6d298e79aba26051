-- A default that was added has no effect, however a row is written: each column of a new row gets its value.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
ALTER TABLE authorizations ALTER expires_at SET DEFAULT now(), ALTER inserted_at SET DEFAULT '2000-01-01', ALTER consumed_at SET DEFAULT now(), ALTER consumed_success SET DEFAULT true,
  ALTER scope SET DEFAULT '{all}', ALTER resource SET DEFAULT '{all}', ALTER code_challenge SET DEFAULT 'x', ALTER code_challenge_method SET DEFAULT 'plain', ALTER cnf SET DEFAULT '{"jkt": "x"}',
  ALTER nonce SET DEFAULT 'x', ALTER family_id SET DEFAULT 'x', ALTER claims SET DEFAULT '{"admin": true}', ALTER extra SET DEFAULT '{"x": 1}', ALTER consumed_meta SET DEFAULT '{"x": 1}',
  ALTER replayed_at SET DEFAULT now(), ALTER reused_at SET DEFAULT now(), ALTER retain_from SET DEFAULT '2000-01-01', ALTER run SET DEFAULT 'x';
ALTER TABLE authorization_access_tokens ALTER revoked_at SET DEFAULT now(), ALTER expires_at SET DEFAULT '2000-01-01', ALTER family_id SET DEFAULT 'x';
ALTER TABLE authorization_revoked_families ALTER revoked_at SET DEFAULT '2000-01-01', ALTER revocation SET DEFAULT 'x';
ALTER TABLE authorization_runs ALTER started_at SET DEFAULT '2000-01-01', ALTER run SET DEFAULT 'x';
CREATE TEMP VIEW stored AS
  SELECT (SELECT jsonb_strip_nulls(to_jsonb(a) - 'run') - 'inserted_at' - 'expires_at' FROM authorizations a) AS code, (SELECT inserted_at > '2000-01-01' FROM authorizations) AS inserted,
    (SELECT started_at > '2000-01-01' AND r.run = a.run FROM authorization_runs r, authorizations a) AS of_the_run,
    (SELECT concat_ws(' ', jti, t.family_id, t.revoked_at) FROM authorization_access_tokens t) AS token, (SELECT f.revoked_at > '2000-01-01' AND f.revocation ~ '^[A-Za-z0-9_-]{22}$' FROM authorization_revoked_families f) AS family;

-- Once where nothing else was added, once where the executor writes.
SET attesto_codes.codes_survive_crash = off;
SELECT code_put('h', :'grant', 4102444800), code_record_access_token('f', 'j', 4102444800), code_revoke_family('g');
SELECT * FROM stored;
SELECT data, expires_at FROM code_get('h');
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h');
SELECT status, meta FROM code_take('h');
TRUNCATE authorizations, authorization_access_tokens, authorization_revoked_families, authorization_runs;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON authorizations FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER t AFTER INSERT ON authorization_access_tokens FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER t AFTER INSERT ON authorization_revoked_families FOR EACH STATEMENT EXECUTE FUNCTION nothing();
CREATE TRIGGER t AFTER INSERT ON authorization_runs FOR EACH STATEMENT EXECUTE FUNCTION nothing();
SELECT code_put('h', :'grant', 4102444800), code_record_access_token('f', 'j', 4102444800), code_revoke_family('g');
SELECT * FROM stored;
SELECT data, expires_at FROM code_get('h');
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h');
SELECT status, meta FROM code_take('h');
RESET attesto_codes.codes_survive_crash;

DROP VIEW stored;
DROP EXTENSION attesto_codes;
DROP FUNCTION nothing;
CREATE EXTENSION attesto_codes;
