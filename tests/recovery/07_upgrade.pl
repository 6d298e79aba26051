# ALTER EXTENSION UPDATE makes of 0.1.0 what a new installation is, and every code goes on from its state.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('upgrade');
my $default = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'attesto_codes'");

# Everything that the catalogs say about the objects of the extension, one line each; not the numbers
# of objects and changes, which no two databases have in common.
sub catalogue
{
	my ($db) = @_;
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
				|| jsonb_build_object('schema', relnamespace::regnamespace, 'toast', reltoastrelid <> 0)
				FROM relations c
			UNION ALL SELECT 'column', to_jsonb(a) - 'attrelid' || jsonb_build_object('of', relname)
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
			UNION ALL SELECT 'dependency', jsonb_build_object('of', pg_describe_object(classid, objid, objsubid),
				'on', pg_describe_object(refclassid, refobjid, refobjsubid), 'type', deptype)
				FROM pg_depend WHERE objid >= 16384)
		SELECT regexp_replace(l::text, '(pg_toast_|pg_attver=)[0-9]+', '\\1', 'g') FROM lines l));
	return \%lines;
}

sub differences
{
	my ($one, $other) = map { catalogue($_) } @_;
	return join "\n", (map { "- $_" } grep { !$other->{$_} } sort keys %$one),
		(map { "+ $_" } grep { !$one->{$_} } sort keys %$other);
}

# The last version is the one that every other is updated to.
is($node->safe_psql('postgres', q(SELECT version FROM pg_available_extension_versions v WHERE name = 'attesto_codes'
	AND NOT EXISTS (SELECT FROM pg_extension_update_paths(v.name) WHERE source = v.version AND path IS NOT NULL))),
	$default, 'the upgrade scripts end at the default version');
is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"), $default, 'which CREATE EXTENSION installs');

# Codes in every state, live or expired; "old" ones for longer than their evidence is kept.
my $insert = q(
	INSERT INTO authorizations (code_hash, expires_at, inserted_at, consumed_at, consumed_success, consumed_meta, client_id, subject,
		redirect_uri, scope, resource, code_challenge, code_challenge_method, cnf, nonce, family_id, claims, extra)
	SELECT state || '-' || age, now() + expiry, now() - interval '1 year', CASE WHEN state <> 'live' THEN now() END, state = 'redeemed',
		CASE WHEN state = 'redeemed' THEN '{"jti": "t"}'::jsonb END, 'c', state, 'r', '{a,b}', '{}', 'x', 'S256', '{"jkt": "j"}', NULL, 'fam',
		'{"n": 12345678901234567890.123}', '{"later": [null]}'
	FROM unnest('{live,spent,redeemed}'::text[]) state,
		(VALUES ('new', interval '1 hour'), ('past', interval '-1 hour'), ('old', interval '-31 days')) ages(age, expiry););
my @calls = ("code_put('new', '${\ grant()}', 1)", "code_get('live-new')", "code_take('live-new')", "code_mark_consumed('spent-new')");
# What 0.1.0 knew, and whether anything else is said.
my $rows = q(SELECT to_jsonb(a) - '{replayed_at,reused_at,retain_from,run}'::text[],
	jsonb_strip_nulls(jsonb_build_array(to_jsonb(a)->'replayed_at', to_jsonb(a)->'reused_at', to_jsonb(a)->'retain_from', to_jsonb(a)->'run'))
	FROM %s.authorizations a ORDER BY code_hash);

for my $schema ('public', 'oauth')
{
	my ($fresh, $old, $dumped) = map { "${_}_$schema" } qw(fresh old dumped);
	$node->safe_psql('postgres', "CREATE DATABASE $_; ALTER DATABASE $_ SET search_path = $schema") for $fresh, $old, $dumped;
	$node->safe_psql($fresh, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes");
	$node->safe_psql($old, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes VERSION '0.1.0'");
	$node->safe_psql($old, $insert);
	$node->safe_psql($old, "CREATE ROLE token_$schema");
	my $grant = "GRANT USAGE ON SCHEMA $schema TO token_$schema; GRANT EXECUTE ON FUNCTION code_take(text) TO token_$schema";
	$node->safe_psql($old, $grant);
	my $before = $node->safe_psql($old, sprintf($rows, $schema));
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($old) ], "$schema: 0.1.0 is dumped");

	# Until then nothing is done to a table that is not as the library knows it.
	for my $call (@calls)
	{
		my (undef, undef, $refusal) = $node->psql($old, "\\set VERBOSITY verbose\nSELECT $call");
		like($refusal, qr/ERROR:  42P01: .*HINT: .*ALTER EXTENSION attesto_codes UPDATE/s, "$schema: before the update $call is refused");
	}
	is($node->safe_psql($old, sprintf($rows, $schema)), $before, "$schema: and changes nothing");
	like(differences($fresh, $old), qr/^- .*retain_from/m, "$schema: the comparison sees what 0.1.0 lacks");

	$node->safe_psql($old, 'SET search_path = pg_temp; ALTER EXTENSION attesto_codes UPDATE');
	$node->safe_psql($fresh, $grant);
	is(differences($fresh, $old), '', "$schema: the update makes what a new installation has");
	is($node->safe_psql($old, sprintf($rows, $schema)), $before, "$schema: every row is there as it was");

	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($dumped), $dump ], "$schema: a dump of 0.1.0 is restored");
	is($node->safe_psql($dumped, sprintf($rows, $schema)), $before, "$schema: into the tables of $default");

	for my $db ($old, $dumped)
	{
		is($node->safe_psql($db, 'SELECT code_sweep()'), 5, "$db: what is due is swept");
		is($node->safe_psql($db, q(SELECT string_agg(code_hash, ' ' ORDER BY code_hash) FROM authorizations)),
			'live-new redeemed-new redeemed-past spent-new', "$db: and nothing else");
		is(join(' ', map { error_of($node, "SELECT code_put('$_', '${\ grant()}', 1)", $db) } qw(live-new spent-new redeemed-new redeemed-past)),
			'23505 23505 23505 23505', "$db: no code can be put again");
		is($node->safe_psql($db, qq(SET ROLE token_$schema; SELECT status, data FROM code_take('live-new'))),
			'ok|{"later": [null], "nonce": null, "scope": ["a", "b"], "claims": {"n": 12345678901234567890.123}, "subject": "live", '
			  . '"dpop_jkt": "j", "resource": [], "client_id": "c", "family_id": "fam", "redirect_uri": "r", "code_challenge": "x", "code_challenge_method": "S256"}',
			"$db: a live code is taken with its grant, by the role that was granted");
		is($node->safe_psql($db, "SELECT code_mark_consumed('live-new'); SELECT status FROM code_take('live-new')"),
			"ok\nconsumed", "$db: and is redeemed");
		is($node->safe_psql($db, "SELECT status FROM code_take('spent-new'); SELECT code_mark_consumed('spent-new')"),
			"error\nreplayed", "$db: a replay of a spent code is seen");
		is($node->safe_psql($db, "SELECT status, meta FROM code_take('$_')"),
			'consumed|{"jti": "t", "subject": "redeemed", "family_id": "fam"}', "$db: a reuse of $_ is, too")
		  for qw(redeemed-new redeemed-past);
	}
}

# An older library does not have this one, and so cannot take what a crash has spent.
is($node->safe_psql('old_public', q(SELECT prosrc FROM pg_proc WHERE proname = 'code_take')), 'code_take_of_run_wrapper',
	'code_take calls what an older library does not have');

# Columns are addressed by their place, so that another one there would be taken for the new one.
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE TO '0.3.0';
	ALTER TABLE authorizations ADD COLUMN tenant text");
is(error_of($node, 'ALTER EXTENSION attesto_codes UPDATE'), '55000', 'no update of a table with columns of its own');
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE");

done_testing();
