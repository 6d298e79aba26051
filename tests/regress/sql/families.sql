-- A family of access tokens: recorded, revoked together, and every token recorded for it later is born revoked.
CREATE TEMP VIEW state AS
  SELECT family_id, jti, revoked_at IS NOT NULL AS revoked, code_access_token_revoked(jti) AS answer FROM authorization_access_tokens;
SELECT code_record_access_token('f', 'f1', 4102444800);
SELECT code_record_access_token('f', 'f2', 4102444800);
SELECT code_record_access_token('f', 'f3', 4102444800);
SELECT code_record_access_token('g', 'g1', 4102444800);
SELECT * FROM state ORDER BY jti;
SELECT code_access_token_revoked('never recorded'), code_access_token_revoked('f');

-- How many are newly revoked; others are not touched.
SELECT clock_timestamp() AS time \gset
CREATE TEMP TABLE tokens AS SELECT ctid AS place, xmin AS writer, xmax AS locker, t.* FROM authorization_access_tokens t;
SELECT code_revoke_family('f');
SELECT * FROM state ORDER BY jti;
-- The revocation is one row, and no token is written.
SELECT count(*) AS changed FROM (SELECT ctid, xmin, xmax, t.* FROM authorization_access_tokens t EXCEPT SELECT * FROM tokens) changed;
SELECT family_id, revoked_at BETWEEN :'time' AND clock_timestamp() AS now FROM authorization_revoked_families;

-- Again: none, and nothing is written.
CREATE TEMP VIEW versions AS
  SELECT 'token' AS what, ctid AS place, xmin AS writer, xmax AS locker, to_jsonb(t) AS "row" FROM authorization_access_tokens t
  UNION ALL SELECT 'family', ctid, xmin, xmax, to_jsonb(f) FROM authorization_revoked_families f;
CREATE TEMP TABLE before AS SELECT * FROM versions;
SELECT code_revoke_family('f');
SELECT count(*) AS changed FROM (SELECT * FROM versions EXCEPT SELECT * FROM before) changed;
SELECT count(*) FROM versions;

-- Born revoked; there is nothing more to revoke.
SELECT code_record_access_token('f', 'f4', 4102444800);
SELECT code_access_token_revoked('f4');
SELECT jti, revoked_at BETWEEN :'time' AND clock_timestamp() AS now FROM authorization_access_tokens WHERE revoked_at IS NOT NULL;
SELECT code_revoke_family('f');

-- A family that has no token yet.
SELECT code_revoke_family('h');
SELECT code_revoke_family('h');
SELECT code_record_access_token('h', 'h1', 4102444800);
SELECT code_record_access_token('g', 'g2', 4102444800);
SELECT * FROM state ORDER BY jti;
SELECT family_id FROM authorization_revoked_families ORDER BY 1;

-- Identifiers are 1 to 1024 bytes; blanks, case and accents tell them apart.
TRUNCATE authorization_access_tokens, authorization_revoked_families;
CREATE TEMP TABLE ids (n serial, id text);
INSERT INTO ids (id) VALUES ('x'), ('X'), (' '), (' x'), ('x '), (repeat('x', 1024)), (repeat('x', 1023) || 'y'), (repeat('ü', 512)), (''''), ('%'), ('ü'), (U&'u\0308');
SELECT code_record_access_token(id, id, 4102444800 + n), count(*) FROM ids GROUP BY 1;
SELECT n, octet_length(id), code_revoke_family(id) FROM ids WHERE n % 2 = 0 ORDER BY n;
SELECT n, code_access_token_revoked(id), extract(epoch FROM expires_at) - 4102444800 AS expires_at, family_id = id AS family
FROM ids JOIN authorization_access_tokens ON jti = id ORDER BY n;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
