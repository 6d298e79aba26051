-- A sweep lets go what foreign keys and triggers let go, with its references as the key says. What stays keeps no sweep from the rest, and is no error.
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.due(VARIADIC hashes text[]) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', extract(epoch FROM now())::bigint - 60)) FROM unnest(hashes) h $$;
CREATE TABLE restricted (code_hash text REFERENCES authorizations ON DELETE RESTRICT);
CREATE TABLE cascaded (code_hash text REFERENCES authorizations ON DELETE CASCADE);
CREATE TABLE emptied (code_hash text REFERENCES authorizations ON DELETE SET NULL, note text);
CREATE TABLE deferred (code_hash text REFERENCES authorizations DEFERRABLE INITIALLY DEFERRED);
SELECT pg_temp.due('none', 'restricted', 'cascaded', 'emptied', 'deferred', 'restricted and cascaded', 'redeemed');
INSERT INTO restricted VALUES ('restricted'), ('restricted and cascaded');
INSERT INTO cascaded VALUES ('cascaded'), ('restricted and cascaded'), ('redeemed');
INSERT INTO emptied VALUES ('emptied', 'of emptied'), ('restricted and cascaded', 'of the other');
INSERT INTO deferred VALUES ('deferred');
SELECT status FROM code_take('redeemed');
SELECT code_mark_consumed('redeemed');
UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'redeemed';
CREATE VIEW stored AS SELECT (SELECT array_agg(code_hash ORDER BY code_hash) FROM authorizations) AS codes, (SELECT array_agg(code_hash ORDER BY code_hash) FROM restricted) AS restricted,
  (SELECT array_agg(code_hash ORDER BY code_hash) FROM cascaded) AS cascaded, (SELECT array_agg(concat(code_hash, ': ', note) ORDER BY note) FROM emptied) AS emptied,
  (SELECT array_agg(code_hash) FROM deferred) AS deferred;
SELECT code_sweep();
-- (A code that is retained as evidence is not deleted, and so keeps its references.)
SELECT * FROM stored;
SELECT code_hash, retain_from = expires_at AS retained FROM authorizations WHERE code_hash = 'redeemed';
SELECT code_sweep();
DELETE FROM restricted;
DELETE FROM deferred;
SELECT code_sweep();
SELECT * FROM stored;
SET attesto_codes.reuse_retention = 0;
SELECT code_sweep();
RESET attesto_codes.reuse_retention;
SELECT * FROM stored;
DROP VIEW stored;
DROP TABLE cascaded, emptied, deferred;

-- Many rows that are not let go, before the others and among them, in each pass; at the same instant, too.
CREATE TABLE held_tokens (jti text REFERENCES authorization_access_tokens);
CREATE TABLE held_families (revocation text REFERENCES authorization_revoked_families);
INSERT INTO authorizations SELECT to_timestamp(CASE WHEN i <= 300 THEN i ELSE 300 END), now(), CASE WHEN kind = 'retained' THEN now() - interval '11 minutes' END, kind = 'retained', concat(kind, i), 'c', 's', 'r', '{}', '{}',
  NULL, NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL, NULL, CASE WHEN kind = 'retained' THEN to_timestamp(CASE WHEN i <= 300 THEN i ELSE 300 END) END
FROM generate_series(1, 600) i, unnest('{live,retained}'::text[]) kind;
INSERT INTO authorization_access_tokens SELECT to_timestamp(CASE WHEN i <= 300 THEN i ELSE 300 END), NULL, 'j' || i, 'f' FROM generate_series(1, 600) i;
INSERT INTO authorization_revoked_families SELECT to_timestamp(CASE WHEN i <= 300 THEN i ELSE 300 END), 'f', 'f' || i FROM generate_series(1, 600) i;
-- The first 150 of each, and every other one after that.
INSERT INTO restricted SELECT code_hash FROM authorizations a, regexp_replace(code_hash, '\D+', '') i WHERE i::int <= 150 OR i::int % 2 = 0;
INSERT INTO held_tokens SELECT jti FROM authorization_access_tokens, substr(jti, 2) i WHERE i::int <= 150 OR i::int % 2 = 0;
INSERT INTO held_families SELECT revocation FROM authorization_revoked_families, substr(revocation, 2) i WHERE i::int <= 150 OR i::int % 2 = 0;
CREATE VIEW stored AS SELECT (SELECT count(*) FROM authorizations WHERE code_hash NOT IN (SELECT * FROM restricted)) AS free_codes, (SELECT count(*) FROM authorizations) - (SELECT count(*) FROM restricted) AS more_codes,
  (SELECT count(*) FROM authorization_access_tokens WHERE jti NOT IN (SELECT * FROM held_tokens)) AS free_tokens, (SELECT count(*) FROM authorization_access_tokens) - (SELECT count(*) FROM held_tokens) AS more_tokens,
  (SELECT count(*) FROM authorization_revoked_families WHERE revocation NOT IN (SELECT * FROM held_families)) AS free_families, (SELECT count(*) FROM authorization_revoked_families) - (SELECT count(*) FROM held_families) AS more_families;
SELECT * FROM stored;
SELECT code_sweep(10);
SELECT code_sweep(300);
SELECT code_sweep();
SELECT * FROM stored;
SELECT code_sweep();
TRUNCATE restricted, held_tokens, held_families;
SELECT code_sweep();
SELECT (SELECT count(*) FROM authorizations) + (SELECT count(*) FROM authorization_access_tokens) + (SELECT count(*) FROM authorization_revoked_families) AS rows;
DROP VIEW stored;
DROP TABLE restricted, held_tokens, held_families;
TRUNCATE authorizations;
