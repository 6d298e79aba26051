-- SCHEMA puts everything where it says; the extension cannot be moved, but its schema can be renamed.
\set least '{"client_id": "c", "subject": "s", "redirect_uri": "r"}'
DROP EXTENSION attesto_codes;
CREATE SCHEMA "Auth Server";
CREATE EXTENSION attesto_codes SCHEMA "Auth Server";
SELECT n.nspname, p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname ~ '^code_' ORDER BY p.proname COLLATE "C";
SELECT to_regclass('authorizations'), to_regclass('"Auth Server".authorizations');
SELECT "Auth Server".code_put('h', :'least', 4102444800);
SELECT live FROM "Auth Server".code_stats();

ALTER EXTENSION attesto_codes SET SCHEMA public;
\echo :LAST_ERROR_SQLSTATE

-- A table of the same name elsewhere is not mistaken for the extension's.
CREATE TABLE public.authorizations (code_hash text PRIMARY KEY);
ALTER SCHEMA "Auth Server" RENAME TO codes;
SELECT data->>'client_id' AS client_id FROM codes.code_get('h');
SELECT status FROM codes.code_take('h');
SELECT codes.code_mark_consumed('h');
SELECT status FROM codes.code_take('h');
SELECT codes.code_put('i', :'least', 4102444800);
SELECT codes.code_record_access_token('f', 'j', 4102444800);
SELECT codes.code_revoke_family('f');
SELECT codes.code_access_token_revoked('j');
SELECT live, redeemed, families_revoked FROM codes.code_stats();
SELECT codes.code_put('expired', :'least', 1);
SELECT codes.code_sweep();
SELECT code_hash, consumed_success FROM codes.authorizations ORDER BY 1;
SELECT count(*) FROM public.authorizations;
DROP TABLE public.authorizations;

DROP EXTENSION attesto_codes;
DROP SCHEMA codes;
CREATE EXTENSION attesto_codes;
