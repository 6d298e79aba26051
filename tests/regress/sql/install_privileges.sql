-- Default privileges of the installer do not open the functions or the tables to PUBLIC.
DROP EXTENSION attesto_codes;
CREATE ROLE regress_nobody;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
CREATE EXTENSION attesto_codes;

SELECT objid::regclass AS name,
  has_table_privilege('regress_nobody', objid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') AS "table",
  has_any_column_privilege('regress_nobody', objid, 'SELECT, INSERT, UPDATE, REFERENCES') AS columns
FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_class'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attesto_codes')
ORDER BY objid::regclass::text COLLATE "C";
SELECT objid::regprocedure AS function, has_function_privilege('regress_nobody', objid, 'EXECUTE') AS executable
FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_proc'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attesto_codes')
ORDER BY objid::regprocedure::text COLLATE "C";

ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
DROP ROLE regress_nobody;
SELECT count(*) AS default_privileges FROM pg_default_acl;
