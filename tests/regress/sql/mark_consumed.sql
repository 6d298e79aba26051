-- code_mark_consumed redeems a spent code: ok, ok again with the first meta kept, missing if unknown, 55000 on a live code.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
\pset null '-'
SELECT code_put('h', :'grant', 1800000000);
SELECT code_mark_consumed('h', '{"n": 0}');
\echo :LAST_ERROR_SQLSTATE
SELECT data->>'subject' AS still_live FROM code_get('h');
SELECT consumed_at, consumed_success, consumed_meta FROM authorizations;

SELECT status FROM code_take('h');
SELECT code_mark_consumed('h', '{"n": 1}');
SELECT code_mark_consumed('h', '{"n": 2}');
SELECT code_mark_consumed('h');
SELECT consumed_success, consumed_meta FROM authorizations;
SELECT * FROM code_take('h');
SELECT * FROM code_take('h');

SELECT code_mark_consumed('never issued');
SELECT code_mark_consumed('never issued', '{"n": 1}');
SELECT count(*) FROM authorizations;
TRUNCATE authorizations;
