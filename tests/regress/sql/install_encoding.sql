-- A database with another encoding than UTF8 is refused.
CREATE DATABASE regress_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\set db :DBNAME
\c regress_latin1
\set VERBOSITY terse
CREATE EXTENSION attesto_codes;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pg_extension WHERE extname = 'attesto_codes';
SELECT to_regclass('authorizations');
\c :db
DROP DATABASE regress_latin1;
