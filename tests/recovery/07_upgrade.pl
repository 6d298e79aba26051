# ALTER EXTENSION UPDATE brings 0.1.0 to the state of a new installation, and every code keeps its own state.
use strict;
use warnings;
use AttestoCodes;
use Catalogue;
use PostgreSQL::Test::Utils;
use States;
use Test::More;

my $node = new_primary('upgrade');
my $default = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'attesto_codes'");

# Every other version is updated to the last one.
is($node->safe_psql('postgres', q(SELECT version FROM pg_available_extension_versions v WHERE name = 'attesto_codes'
	AND NOT EXISTS (SELECT FROM pg_extension_update_paths(v.name) WHERE source = v.version AND path IS NOT NULL))),
	$default, 'the upgrade scripts end at the default version');
is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"), $default, 'CREATE EXTENSION installs the default version');

my @calls = ("code_put('new', '${\ grant()}', 1)", "code_get('live-new')", "code_take('live-new')", "code_mark_consumed('spent-new')");
for my $schema ('public', 'oauth')
{
	my ($fresh, $old, $dumped) = map { "${_}_$schema" } qw(fresh old dumped);
	$node->safe_psql('postgres', "CREATE DATABASE $_; ALTER DATABASE $_ SET search_path = $schema") for $fresh, $old, $dumped;
	$node->safe_psql($fresh, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes");
	first_version($node, $old, $schema);
	$node->safe_psql($old, "CREATE ROLE token_$schema");
	my $grant = "GRANT USAGE ON SCHEMA $schema TO token_$schema; GRANT EXECUTE ON FUNCTION code_take(text) TO token_$schema";
	$node->safe_psql($old, $grant);
	my $before = rows_of_first_version($node, $old, $schema);
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($old) ], "$schema: 0.1.0 is dumped");

	# Before the update, the library refuses tables that it does not know.
	for my $call (@calls)
	{
		my (undef, undef, $refusal) = $node->psql($old, "\\set VERBOSITY verbose\nSELECT $call");
		like($refusal, qr/ERROR:  42P01: .*HINT: .*ALTER EXTENSION attesto_codes UPDATE/s, "$schema: before the update $call is refused");
	}
	is(rows_of_first_version($node, $old, $schema), $before, "$schema: and changes nothing");
	like(differences($node, $fresh, $old), qr/^- .*retain_from/m, "$schema: the comparison sees what 0.1.0 lacks");

	$node->safe_psql($old, 'SET search_path = pg_temp; ALTER EXTENSION attesto_codes UPDATE');
	$node->safe_psql($fresh, $grant);
	is(differences($node, $fresh, $old), '', "$schema: the update makes what a new installation has");
	is(rows_of_first_version($node, $old, $schema), $before, "$schema: every row is there as it was");

	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($dumped), $dump ], "$schema: a dump of 0.1.0 is restored");
	is(rows_of_first_version($node, $dumped, $schema), $before, "$schema: into the tables of $default");

	is_first_version($node, $_, "token_$schema") for $old, $dumped;
}

# An older library lacks this entry point, and so cannot take codes that a crash has spent.
is($node->safe_psql('old_public', q(SELECT prosrc FROM pg_proc WHERE proname = 'code_take')), 'code_take_of_run_wrapper',
	'code_take calls an entry point that an older library lacks');

# Columns are addressed by position, so a foreign column there would be taken for the new one.
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE TO '0.3.0';
	ALTER TABLE authorizations ADD COLUMN tenant text");
is(error_of($node, 'ALTER EXTENSION attesto_codes UPDATE'), '55000', 'no update of a table with columns of its own');
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE");

done_testing();
