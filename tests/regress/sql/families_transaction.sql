-- Records and revocations are part of their transaction, at every isolation level.
CREATE TEMP VIEW state AS
  SELECT family_id, jti, revoked_at IS NOT NULL AS stored_revoked, code_access_token_revoked(jti) AS answer FROM authorization_access_tokens;
BEGIN;
SELECT code_record_access_token('f', 'j', 4102444800);
SELECT code_revoke_family('f');
SELECT code_access_token_revoked('j');
SELECT code_record_access_token('f', 'k', 4102444800);
SELECT code_revoke_family('f');
ROLLBACK;
SELECT count(*) FROM state;
SELECT count(*) FROM authorization_revoked_families;
SELECT code_record_access_token('f', 'j', 4102444800);

-- A savepoint takes back what was done since.
BEGIN;
SAVEPOINT a;
SELECT code_revoke_family('f');
SELECT code_access_token_revoked('j');
ROLLBACK TO a;
SELECT code_access_token_revoked('j');
SELECT code_record_access_token('f', 'k', 4102444800);
SAVEPOINT b;
SELECT code_record_access_token('f', 'l', 4102444800);
ROLLBACK TO b;
SELECT code_revoke_family('f');
COMMIT;
SELECT * FROM state ORDER BY jti;

BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM state;
SELECT code_record_access_token('rr', 'rr1', 4102444800);
SELECT code_revoke_family('rr');
SELECT code_record_access_token('rr', 'rr2', 4102444800);
SELECT code_access_token_revoked(jti) FROM unnest(ARRAY['rr1', 'rr2', 'rr3']) jti;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM state;
SELECT code_record_access_token('ser', 'ser1', 4102444800);
SELECT code_revoke_family('ser');
SELECT code_record_access_token('ser', 'ser2', 4102444800);
SELECT code_access_token_revoked(jti) FROM unnest(ARRAY['ser1', 'ser2', 'ser3']) jti;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT code_access_token_revoked(jti) FROM unnest(ARRAY['ser1', 'ser2', 'ser3']) jti;
COMMIT;
SELECT * FROM state ORDER BY jti;
TRUNCATE authorization_access_tokens, authorization_revoked_families;
