-- redirect_uri is compared by octets. None is sent where there is a challenge (OAuth 2.1), and nowhere else; an empty one counts as sent.
\pset null '-'
-- How wide a sign is depends on psql.
\pset format unaligned
CREATE TEMP TABLE uris (n serial, asked text, sent text);
INSERT INTO uris (asked, sent) VALUES
  ('https://client.example/cb', 'https://client.example/cb'), ('https://client.example/cb', NULL), ('https://client.example/cb', ''), ('https://client.example/cb', 'https://client.example/cb/'),
  ('https://client.example/cb', 'https://client.example/c'), ('https://client.example/cb', 'https://client.example:443/cb'), ('https://client.example/cb', 'HTTPS://client.example/cb'),
  ('https://client.example/cb', 'https://client.example/CB'), ('https://client.example/cb', 'https://client.example/%63b'), ('https://client.example/cb', 'https://client.example/cb?'),
  ('https://client.example/cb', 'https://client.example/cb '), ('https://client.example/cb', ' https://client.example/cb'), ('https://client.example/cb', 'https://client.example/x/../cb'),
  ('https://client.example/é', U&'https://client.example/e\0301'), ('https://client.example/é', 'https://client.example/é'), (repeat('u', 10000), repeat('u', 10000)), (repeat('u', 10000), repeat('u', 9999) || 'v'),
  ('http://127.0.0.1:1/cb', 'http://127.0.0.1:2/cb');
\set grant '{"client_id": "c", "subject": "s"}'
SELECT count(code_put('plain ' || n, :'grant'::jsonb || jsonb_build_object('redirect_uri', asked), 4102444800)), count(code_put('challenge ' || n, :'grant'::jsonb || jsonb_build_object('redirect_uri', asked, 'code_challenge', 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'), 4102444800)),
  count(code_put('key ' || n, :'grant'::jsonb || jsonb_build_object('redirect_uri', asked, 'dpop_jkt', 'k'), 4102444800)) FROM uris;
SELECT n, left(asked, 30) AS asked, left(sent, 30) AS sent, p.status, p.reason, c.status AS with_challenge, c.reason, k.status AS with_key, k.reason
FROM uris, code_redeem('plain ' || n, 'c', sent) p, code_redeem('challenge ' || n, 'c', sent, 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk') c, code_redeem('key ' || n, 'c', sent, NULL, 'k') k ORDER BY n;
-- The client_id, too.
SELECT count(code_put(h, '{"client_id": "Client", "subject": "s", "redirect_uri": "r"}', 4102444800)) FROM unnest('{Client,client,"Client ",Clien,""}'::text[]) c, concat('client ', c) h;
SELECT '"' || c || '"' AS client_id, status, reason FROM unnest('{Client,client,"Client ",Clien,""}'::text[]) c, code_redeem('client ' || c, c, 'r');
TRUNCATE authorizations;
