-- code_take gives a live code's entry once; after that, and for what was never issued, the answer is error.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
\pset null '-'
SELECT code_put('h', :'grant', 1800000000);
SELECT code_put('other', :'grant', 1800000000);
SELECT * FROM code_take('h');
SELECT * FROM code_take('h');
SELECT * FROM code_take('h');
SELECT * FROM code_take('never issued');
-- Another code is not touched, and is taken in one statement that presents it twice.
SELECT status, meta FROM unnest(ARRAY['other', 'other', 'never issued']) WITH ORDINALITY h(h, n), code_take(h) ORDER BY n;
SELECT code_hash, consumed_success FROM authorizations ORDER BY code_hash;
TRUNCATE authorizations;
