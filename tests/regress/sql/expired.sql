-- Expiry is not a state: an expired code is got, taken, replayed, redeemed and its reuse reported like any other.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT code_put('h', :'grant', 1);
SELECT expires_at FROM code_get('h');
SELECT status, data->>'subject' AS subject, expires_at FROM code_take('h');
SELECT status FROM code_take('h');
SELECT code_mark_consumed('h');
SELECT status, meta FROM code_take('h');
TRUNCATE authorizations;
