-- A code_verifier is 43 to 128 unreserved characters that hash to the challenge (RFC 7636, sections 4.1 and 4.6); it comes where there is a challenge, and only there.
\pset null '-'
CREATE TEMP TABLE verifiers (n serial, verifier text);
INSERT INTO verifiers (verifier) SELECT repeat('a', n) FROM unnest('{0,1,42,43,44,64,127,128,129,1000}'::int[]) n;
INSERT INTO verifiers (verifier) SELECT repeat('a', 42) || c FROM unnest('{A,z,0,9,-,.,_,~," ",+,/,=,%,!,*,'',(,),:,@,é,"\\","\"","`","[","{","|","^"}'::text[]) c;
INSERT INTO verifiers (verifier) VALUES (repeat('a', 42) || E'\n'), (repeat('a', 42) || E'\t'), (repeat('a', 42) || E'\x7f'), (' ' || repeat('a', 43)), (repeat('é', 43)), (repeat('a', 42) || U&'\00a0'), (repeat('a', 43) || E'\r\n'), ('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk');
-- A challenge for each of them that it hashes to.
SELECT count(code_put(n::text, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'code_challenge', code_hash(verifier)), 4102444800)) FROM verifiers;
SELECT n, length(verifier) AS characters, to_json(right(verifier, 2))::text AS ends, octet_length(verifier) AS bytes, status, reason, verifier ~ '^[A-Za-z0-9._~-]{43,128}$' = (status = 'ok') AS by_the_rfc
FROM verifiers, code_redeem(n::text, 'c', 'r', verifier) ORDER BY n;
-- The right verifier, however it is stored.
SELECT code_challenge FROM authorizations JOIN verifiers ON n::text = code_hash WHERE verifier LIKE 'dBj%';

-- One character more or less, another case, and the challenge itself.
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}', 4102444800)) FROM unnest('{more,less,case,same,none,empty,padded}'::text[]) h;
SELECT h, reason FROM (VALUES ('more', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXkA'), ('less', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX'), ('case', 'DBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'),
  ('same', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'), ('none', NULL), ('empty', ''), ('padded', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk=')) t(h, verifier), code_redeem(h, 'c', 'r', verifier);
-- A challenge that is not base64url of a digest: nothing hashes to it.
SELECT count(code_put(h, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'code_challenge', h), 4102444800))
FROM unnest('{dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk,E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=,E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM}'::text[]) h;
SELECT h, reason FROM unnest('{dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk,E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=,E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM}'::text[]) h, code_redeem(h, 'c', 'r', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk');

-- A verifier that no challenge asks for: somebody may have taken the challenge out of the request (RFC 9700, section 2.1.1).
SELECT count(code_put(h, '{"client_id": "c", "subject": "s", "redirect_uri": "r", "code_challenge": null, "dpop_jkt": "k"}', 4102444800)) FROM unnest('{sent,sent empty,sent none}'::text[]) h;
SELECT h, status, reason FROM (VALUES ('sent', 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk'), ('sent empty', ''), ('sent none', NULL)) t(h, verifier), code_redeem(h, 'c', 'r', verifier, 'k');
TRUNCATE authorizations;
