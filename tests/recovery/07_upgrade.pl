# ALTER EXTENSION UPDATE brings every released version to the state of a new installation, and every code, token and family keeps its
# own state.
use strict;
use warnings;
use AttestoCodes;
use Catalogue;
use PostgreSQL::Test::Utils;
use States;
use Test::More;

my $node = new_primary('upgrade');
my $default = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'attesto_codes'");

$node->safe_psql('postgres', 'CREATE ROLE nobody');

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

# 0.5.0 wrote a revocation to each token, and named it by its family. What was revoked stays so, what was not does not
# become it.
for my $schema ('public', 'oauth')
{
	my ($fresh, $old, $dumped) = map { "${_}_of_5_$schema" } qw(fresh old dumped);
	$node->safe_psql('postgres', "CREATE DATABASE $_; ALTER DATABASE $_ SET search_path = $schema") for $fresh, $old, $dumped;
	$node->safe_psql($fresh, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes");
	$node->safe_psql($old, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes VERSION '0.5.0'");
	$node->safe_psql($old, q(
		INSERT INTO authorizations (code_hash, expires_at, inserted_at, consumed_at, consumed_success, client_id, subject, redirect_uri, scope, resource, family_id, claims)
		SELECT state || ' of ' || coalesce(family, 'none'), '2100-01-01', now(), CASE WHEN state <> 'live' THEN now() END, state = 'redeemed', 'c', 's', 'r', '{}', '{}', family, '{}'
		FROM unnest('{live,spent,redeemed}'::text[]) state, unnest('{good,bad,NULL}'::text[]) family;
		INSERT INTO authorization_access_tokens VALUES ('2100-01-01', NULL, 'good 1', 'good'), ('2100-01-01', NULL, 'good 2', 'good'), ('2000-01-01', NULL, 'good 3', 'good'),
			('2100-01-01', now(), 'bad 1', 'bad'), ('2100-01-01', now(), 'bad 2', 'bad'), ('2000-01-01', now(), 'bad 3', 'bad'),
			('2100-01-01', now(), 'swept 1', 'swept');
		INSERT INTO authorization_revoked_families VALUES (now(), 'bad'), (now(), 'no token'), ('2000-01-01', 'old');));
	my $rows = sub { my ($db) = @_; return join "\n", map { $node->safe_psql($db, "SELECT to_jsonb(t) - 'revocation' FROM $_ t ORDER BY 1::text") }
		qw(authorizations authorization_access_tokens authorization_revoked_families); };
	my $before = $rows->($old);
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($old) ], "$schema: 0.5.0 is dumped");
	is(error_of($node, "SELECT $_", $old), '42P01', "$schema: before the update $_ is refused")
	  for "code_access_token_revoked('bad 1')", "code_take('live of bad')", "code_take('live of good')", "code_revoke_family('bad')", "code_record_access_token('good', 'new', 1)", 'code_sweep()', 'live FROM code_stats()';
	is($rows->($old), $before, "$schema: and changes nothing");
	$node->safe_psql($old, 'SET search_path = pg_temp; ALTER EXTENSION attesto_codes UPDATE');
	is(differences($node, $fresh, $old), '', "$schema: the update of 0.5.0 makes what a new installation has");
	is($node->safe_psql($old, q(SELECT string_agg(proname, ' ' ORDER BY proname), bool_or(has_function_privilege('nobody', oid, 'EXECUTE')) FROM pg_proc
		WHERE proname IN ('code_inspect', 'code_issue', 'code_redeem', 'code_complete', 'code_stats', 'code_family_revoked'))),
		'code_complete code_family_revoked code_inspect code_issue code_redeem code_stats|f', "$schema: nobody may call the new functions");
	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($dumped), $dump ], "$schema: a dump of 0.5.0 is restored");
	for my $db ($old, $dumped)
	{
		is($rows->($db), $before, "$db: every row is there as it was");
		my $answer = sub { return $node->safe_psql($db, $_[0]); };
		is($answer->('SELECT count(DISTINCT revocation), min(length(revocation)) FROM authorization_revoked_families'), '3|36', "$db: each revocation has a name");
		is($answer->(q(SELECT string_agg(jti, ', ' ORDER BY jti) FROM authorization_access_tokens WHERE code_access_token_revoked(jti))),
			'bad 1, bad 2, swept 1', "$db: the revoked tokens are revoked, and no others");
		is($answer->(q(SELECT string_agg(f, ', ') FROM unnest('{good,bad,no token,old,swept}'::text[]) f WHERE code_family_revoked(f))),
			'bad, no token, old', "$db: and so are the families");
		is($answer->(q(SELECT string_agg(h || ' ' || status, ', ' ORDER BY h) FROM unnest('{live of good,live of bad,live of none}'::text[]) h, code_take(h))),
			'live of bad error, live of good ok, live of none ok', "$db: a live code of a revoked family is, too");
		is($answer->(q(SELECT string_agg(h || ' ' || status, ', ' ORDER BY h) FROM unnest('{spent of bad,redeemed of bad}'::text[]) h, code_take(h))),
			'redeemed of bad consumed, spent of bad error', "$db: others go on from their state");
		is($answer->(q(SELECT string_agg(h || ' ' || concat_ws(' ', status, reason), ', ' ORDER BY h) FROM unnest('{spent of none,spent of bad,redeemed of none}'::text[]) h, code_redeem(h, 'c', 'r'))),
			'redeemed of none consumed, spent of bad error spent, spent of none error spent', "$db: also by code_redeem");
		is($answer->(q(SELECT string_agg(f, ', ' ORDER BY f) FROM unnest('{redeemed of none,spent of none,good}'::text[]) f WHERE code_family_revoked(f))),
			'redeemed of none, spent of none', "$db: which revokes their names");
		is($answer->("SELECT code_complete('spent of good', 'completed', 4102444800), code_access_token_revoked('completed')"), 'ok|f', "$db: a code that the old version spent is completed");
		is(error_of($node, "SELECT code_complete('$_')", $db), '55000', "$db: but not $_") for 'spent of bad', 'redeemed of bad', 'spent of none';
		is($answer->("SELECT code_record_access_token('no token', 'late', 4102444800), code_record_access_token('good', 'good 4', 4102444800)"), 'f|t', "$db: tokens are recorded");
		is($answer->("SELECT code_revoke_family('bad'), code_revoke_family('good'), code_revoke_family('swept')"), '0|4|0', "$db: and families revoked");
		is($answer->(q(SELECT string_agg(jti, ', ' ORDER BY jti) FROM authorization_access_tokens WHERE code_access_token_revoked(jti))),
			'bad 1, bad 2, completed, good 1, good 2, good 4, late, swept 1', "$db: with their tokens");
		# Two tokens that have expired, and the old revocation.
		is($answer->("SELECT code_sweep()"), '3', "$db: what is due is swept");
		is($answer->(q(SELECT string_agg(family_id, ', ' ORDER BY family_id) FROM authorization_revoked_families)), 'bad, good, no token, redeemed of none, spent of bad, spent of none, swept', "$db: and a revocation that is too old");
	}
}

# An older library lacks these entry points, and so cannot take codes that are revoked or that a crash has spent, nor call
# revoked tokens valid.
is($node->safe_psql('old_public', q(SELECT string_agg(prosrc, ' ' ORDER BY prosrc) FROM pg_proc WHERE proname IN ('code_take', 'code_access_token_revoked'))),
	'code_access_token_revoked_by_family_wrapper code_take_unless_revoked_wrapper', 'code_take and code_access_token_revoked call entry points that an older library lacks');

# The versions between them, whose scripts are no longer there: they are reached from the first one. Their code_stats has 21
# columns, and is refused like the other functions until the update.
for my $version (split /\n/, $node->safe_psql('postgres', "SELECT version FROM pg_available_extension_versions WHERE name = 'attesto_codes'
	AND version NOT IN ('0.1.0', '0.5.0', '$default') UNION SELECT target FROM pg_extension_update_paths('attesto_codes')
	WHERE source = '0.1.0' AND path IS NOT NULL AND target NOT IN ('0.5.0', '$default') ORDER BY 1"))
{
	my $old = 'version_' . $version =~ tr/./_/r;
	$node->safe_psql('postgres', "CREATE DATABASE $old; ALTER DATABASE $old SET search_path = public");
	$node->safe_psql($old, "CREATE EXTENSION attesto_codes VERSION '$version'");
	is($node->safe_psql($old, "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"), $version, "$version is there");
	is(error_of($node, 'SELECT live FROM code_stats()', $old), '42P01', "$version: code_stats wants the update");
	$node->safe_psql($old, 'ALTER EXTENSION attesto_codes UPDATE');
	is(differences($node, 'fresh_of_5_public', $old), '', "$version: the update makes what a new installation has");
}

# The entry point that 0.5.0 declared answers the columns of then, with the same numbers.
{
	my $columns = sub { $node->safe_psql('old_of_5_public', "SELECT array_length(proargnames, 1) FROM pg_proc WHERE proname = '$_[0]'") };
	my $script = slurp_file($node->config_data('--sharedir') . '/extension/attesto_codes--0.5.0.sql');
	my ($declared) = $script =~ /(CREATE FUNCTION \@extschema\@\.code_stats\(\).*?;)/s;
	$declared =~ s/\@extschema\@\.code_stats/public.stats_of_5/;
	$declared =~ s/MODULE_PATHNAME/\$libdir\/attesto_codes/;
	$node->safe_psql('old_of_5_public', $declared);
	is(join(' ', map { $columns->($_) } qw(stats_of_5 code_stats)), '21 34', 'code_stats has more columns');
	is($node->safe_psql('old_of_5_public', q(SELECT jsonb_object_agg(key, o.value) = to_jsonb(n) - 'oldest_due_age'
		FROM code_stats() s, stats_of_5() n, jsonb_each(to_jsonb(s)) o WHERE to_jsonb(n) ? key AND key <> 'oldest_due_age' GROUP BY n)), 't', 'as it was declared before it answers the old ones');
}

# Columns are addressed by position, so a foreign column there would be taken for the new one.
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE TO '0.3.0';
	ALTER TABLE authorizations ADD COLUMN tenant text");
is(error_of($node, 'ALTER EXTENSION attesto_codes UPDATE'), '55000', 'no update of a table with columns of its own');
for my $column ('ADD COLUMN tenant text', 'DROP COLUMN tenant')
{
	$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.5.0'; ALTER TABLE authorization_revoked_families ADD COLUMN IF NOT EXISTS tenant text;
		ALTER TABLE authorization_revoked_families " . $column =~ s/ADD COLUMN/ADD COLUMN IF NOT EXISTS/r);
	is(error_of($node, 'ALTER EXTENSION attesto_codes UPDATE'), '55000', "nor of the revocations after $column");
}
$node->safe_psql('postgres', "DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes VERSION '0.1.0'; ALTER EXTENSION attesto_codes UPDATE");

done_testing();
