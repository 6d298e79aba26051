-- dpop_jkt: a grant that is bound to a key wants a proof of this key (RFC 9449, section 10). A key that the grant does not ask for passes.
\pset null '-'
CREATE TEMP TABLE keys (n serial, asked text, sent text);
INSERT INTO keys (asked, sent) SELECT asked, sent FROM (VALUES (1, NULL), (2, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I')) a(a, asked),
  (VALUES (1, NULL), (2, ''), (3, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'), (4, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4i'), (5, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4'), (6, '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I='), (7, 'another')) s(s, sent) ORDER BY a, s;
SELECT count(code_put(n::text, jsonb_build_object('client_id', 'c', 'subject', 's', 'redirect_uri', 'r', 'dpop_jkt', asked), 4102444800)) FROM keys;
SELECT asked, sent, status, reason, data->>'dpop_jkt' AS of_the_entry FROM keys, code_redeem(n::text, 'c', 'r', NULL, sent) ORDER BY n;
TRUNCATE authorizations;
