-- What the extension creates, and nothing else: functions, tables, columns, constraints, indexes, privileges, comments.
-- (Major 17 lists the row types of the tables, and the arrays of them, too.)
CREATE TEMP VIEW members AS
  SELECT d.classid, d.objid, d.objsubid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'attesto_codes'
    AND (d.classid <> 'pg_type'::regclass OR d.objid NOT IN
      (SELECT unnest(ARRAY[t.oid, t.typarray]) FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'r'));
CREATE TEMP VIEW functions AS
  SELECT p.* FROM pg_proc p JOIN members m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid;
CREATE TEMP VIEW tables AS
  SELECT c.* FROM pg_class c JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid;

SELECT e.extrelocatable, e.extversion = a.default_version AS newest, e.extconfig::regclass[], e.extcondition
FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname WHERE e.extname = 'attesto_codes';
SELECT superuser, trusted, relocatable, schema, requires
FROM pg_available_extension_versions WHERE name = 'attesto_codes' AND installed;

SELECT pg_describe_object(classid, objid, objsubid) AS member FROM members ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C";

-- What belongs to a table beside its constraints and indexes: the row type; no rule, no policy, no trigger.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS part_of_a_table
FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM tables)
  AND d.deptype = 'i' AND d.classid <> 'pg_class'::regclass
ORDER BY pg_describe_object(d.classid, d.objid, d.objsubid) COLLATE "C";

\pset format unaligned
\x on
SELECT proname AS name, pg_get_function_arguments(oid) AS arguments, pg_get_function_result(oid) AS result,
  provolatile AS volatility, proparallel AS parallel, proisstrict AS strict, prosecdef AS security_definer,
  proleakproof AS leakproof, prorows AS rows, prokind AS kind,
  (SELECT lanname FROM pg_language WHERE oid = prolang) AS language, proconfig AS config
FROM functions ORDER BY proname COLLATE "C";
\x off
\pset format aligned

SELECT t.relname AS "table", a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
  CASE WHEN a.attcollation <> 0 THEN a.attcollation::regcollation END AS collation, a.atthasdef AS has_default
FROM pg_attribute a JOIN tables t ON t.oid = a.attrelid WHERE a.attnum > 0 ORDER BY t.relname COLLATE "C" DESC, a.attnum;

-- Major 18 lists NOT NULL here, too.
SELECT conname, contype, convalidated, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tables) AND contype <> 'n' ORDER BY conname COLLATE "C";
SELECT pg_get_indexdef(indexrelid) AS index FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)
ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";
SELECT relname, relkind, relpersistence, relrowsecurity, relhasrules, relhastriggers, relreplident
FROM tables ORDER BY relname COLLATE "C";

-- Roles other than the owner that have a right: none.
SELECT p.proname, a.grantee, a.privilege_type
FROM functions p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner;
SELECT t.relname, a.grantee, a.privilege_type
FROM tables t, aclexplode(coalesce(t.relacl, acldefault('r', t.relowner))) a WHERE a.grantee <> t.relowner;
SELECT attname, attacl FROM pg_attribute WHERE attrelid IN (SELECT oid FROM tables) AND attacl IS NOT NULL;

-- What has no comment: nothing.
SELECT pg_describe_object(classid, objid, objsubid) AS uncommented FROM members
WHERE obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) IS NULL
UNION ALL
SELECT attname FROM pg_attribute WHERE attrelid IN (SELECT oid FROM tables) AND attnum > 0
  AND col_description(attrelid, attnum) IS NULL
UNION ALL
SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN (SELECT oid FROM tables) AND NOT indisprimary
  AND obj_description(indexrelid, 'pg_class') IS NULL
UNION ALL
SELECT extname FROM pg_extension WHERE extname = 'attesto_codes' AND obj_description(oid, 'pg_extension') IS NULL;
SELECT count(*) FROM members;
