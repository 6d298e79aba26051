-- code_hash is base64url without padding of SHA-256 of the code's UTF-8.
SELECT code_hash('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk') AS rfc_7636_appendix_b;
SELECT code_hash('') AS empty;

-- As PostgreSQL's own functions compute it; a thousand digests hold each character of the alphabet.
CREATE TEMP TABLE codes AS SELECT 'cödé-' || i AS code FROM generate_series(1, 1000) i;
SELECT count(*) AS equal FROM codes
WHERE code_hash(code) = translate(encode(sha256(convert_to(code, 'UTF8')), 'base64'), '+/=', '-_');
SELECT count(DISTINCT letter) AS letters, min(length(code_hash(code))), max(length(code_hash(code)))
FROM codes, regexp_split_to_table(code_hash(code), '') letter;

-- Long codes, also those that are stored compressed or out of line.
SELECT code_hash(repeat('x', 1000000)) = translate(encode(sha256(repeat('x', 1000000)::bytea), 'base64'), '+/=', '-_') AS long;
CREATE TEMP TABLE stored AS SELECT string_agg(md5(i::text), '') AS code FROM generate_series(1, 10000) i;
SELECT code_hash(code) = translate(encode(sha256(code::bytea), 'base64'), '+/=', '-_') AS toasted FROM stored;
