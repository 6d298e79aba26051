# What the catalogs say about the extension in a database, compared with another database.
package Catalogue;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(differences);

# Everything that the catalogs say about the objects of the extension, one line each; not the numbers
# of objects and changes, which no two databases have in common.
sub catalogue
{
	my ($node, $db) = @_;
	my %lines = map { $_ => 1 } split /\n/, $node->safe_psql($db, q(
		WITH members AS (SELECT classid, objid FROM pg_depend
			WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attesto_codes')),
		tables AS (SELECT objid AS oid FROM members WHERE classid = 'pg_class'::regclass),
		relations AS (SELECT c.* FROM pg_class c WHERE oid IN (SELECT oid FROM tables
			UNION SELECT indexrelid FROM pg_index JOIN tables ON indrelid = oid)),
		lines AS (
			SELECT 'extension', to_jsonb(e) - '{oid,extnamespace,extconfig}'::text[]
				|| jsonb_build_object('schema', extnamespace::regnamespace, 'config', extconfig::regclass[])
				FROM pg_extension e WHERE extname = 'attesto_codes'
			UNION ALL SELECT 'relation', to_jsonb(c) - '{oid,relnamespace,reltype,relfilenode,reltoastrelid,relpages,reltuples,relallvisible,relallfrozen,relfrozenxid,relminmxid}'::text[]
				|| jsonb_build_object('schema', relnamespace::regnamespace, 'toast', reltoastrelid <> 0,
					'relacl', COALESCE(relacl, acldefault('r', relowner)))
				FROM relations c
			UNION ALL SELECT 'column', to_jsonb(a) - '{attrelid,attoptions}'::text[] || jsonb_build_object('of', relname)
				FROM pg_attribute a JOIN relations ON attrelid = relations.oid
			UNION ALL SELECT 'default', jsonb_build_object('of', adrelid::regclass, 'column', adnum, 'is', pg_get_expr(adbin, adrelid))
				FROM pg_attrdef JOIN tables ON adrelid = tables.oid
			UNION ALL SELECT 'index', to_jsonb(i) - '{indexrelid,indrelid,indcheckxmin}'::text[]
				|| jsonb_build_object('is', pg_get_indexdef(indexrelid))
				FROM pg_index i JOIN tables ON indrelid = oid
			UNION ALL SELECT 'constraint', to_jsonb(c) - '{oid,connamespace,conrelid,conindid,conbin}'::text[]
				|| jsonb_build_object('of', conrelid::regclass, 'index', conindid::regclass, 'is', pg_get_constraintdef(c.oid))
				FROM pg_constraint c JOIN tables ON conrelid = tables.oid
			UNION ALL SELECT 'function', to_jsonb(p) - '{oid,pronamespace,proargdefaults}'::text[]
				|| jsonb_build_object('is', pg_get_functiondef(p.oid))
				FROM pg_proc p JOIN members ON objid = p.oid AND classid = 'pg_proc'::regclass
			UNION ALL SELECT 'type', to_jsonb(t) - '{oid,typnamespace,typrelid,typelem,typarray}'::text[]
				FROM pg_type t WHERE typrelid IN (SELECT oid FROM tables)
			UNION ALL SELECT 'comment', jsonb_build_object('on', pg_describe_object(classoid, objoid, objsubid), 'is', description)
				FROM pg_description WHERE objoid >= 16384
			UNION ALL SELECT 'initial privileges', jsonb_build_object('of', pg_describe_object(classoid, objoid, objsubid), 'are', initprivs)
				FROM pg_init_privs WHERE objoid >= 16384
				AND initprivs <> COALESCE((SELECT acldefault('r', relowner) FROM pg_class WHERE oid = objoid AND classoid = 'pg_class'::regclass), '{}')
			UNION ALL SELECT 'dependency', jsonb_build_object('of', pg_describe_object(classid, objid, objsubid),
				'on', pg_describe_object(refclassid, refobjid, refobjsubid), 'type', deptype)
				FROM pg_depend WHERE objid >= 16384)
		SELECT regexp_replace(l::text, 'pg_toast_[0-9]+', 'pg_toast_', 'g') FROM lines l));
	return \%lines;
}

# What one database has and the other lacks, and the other way round; '' where they have the same.
sub differences
{
	my ($node, @databases) = @_;
	my ($one, $other) = map { catalogue($node, $_) } @databases;
	return join "\n", (map { "- $_" } grep { !$other->{$_} } sort keys %$one),
		(map { "+ $_" } grep { !$one->{$_} } sort keys %$other);
}

1;
