-- code_get gives the entry of a live code, as often as it is asked; no row for any other.
\set grant '{"client_id": "c", "subject": "s", "redirect_uri": "r", "family_id": "f"}'
SELECT code_put('h', :'grant', 1800000000);
SELECT * FROM code_get('never issued');
SELECT * FROM code_get('h');
SELECT * FROM code_get('h');
SELECT g.data = t.data AND g.expires_at = t.expires_at AS same_as_taken, t.status FROM code_get('h') g, code_take('h') t;
SELECT * FROM code_get('h');
SELECT code_mark_consumed('h');
SELECT * FROM code_get('h');
TRUNCATE authorizations;
