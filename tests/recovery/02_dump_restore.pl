# pg_dump and pg_restore keep every row and state, also where the extension has a schema of its own,
# and the restored extension goes on from there.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('dump');

for my $schema ('public', 'oauth')
{
	my ($from, $to) = ("from_$schema", "to_$schema");
	$node->safe_psql('postgres', "CREATE DATABASE $_") for $from, $to;
	$node->safe_psql($from, qq(
		CREATE SCHEMA IF NOT EXISTS $schema;
		CREATE EXTENSION attesto_codes SCHEMA $schema;
		SET search_path = $schema;
		CREATE ROLE token_$schema;
		GRANT USAGE ON SCHEMA $schema TO token_$schema;
		GRANT EXECUTE ON FUNCTION code_take(text) TO token_$schema;
		SELECT code_put(name, jsonb_build_object('client_id', 'c', 'subject', name, 'redirect_uri', 'r',
			'scope', '["a", "b"]'::jsonb, 'dpop_jkt', 'j', 'family_id', 'fam', 'code_challenge', 'x',
			'claims', '{"n": 12345678901234567890.123}'::jsonb, 'later', '[null]'::jsonb), 1800000000)
		FROM unnest('{live,spent,redeemed}'::text[]) name;
		SELECT code_take(name) FROM unnest('{spent,redeemed}'::text[]) name;
		SELECT code_mark_consumed('redeemed', '{"jti": "t"}');));

	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($from) ], "$schema: pg_dump");
	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($to), $dump ], "$schema: pg_restore");

	my $rows = "SELECT a::text FROM $schema.authorizations a ORDER BY code_hash COLLATE \"C\"";
	is($node->safe_psql($to, $rows), $node->safe_psql($from, $rows), "$schema: every row came back");
	is($node->safe_psql($to, "SELECT count(*) FROM $schema.authorizations"), 3, "$schema: all three of them");
	my $taken = join "\n", map {
		$node->safe_psql($to, "SET ROLE token_$schema; SET search_path = $schema; SELECT status, data->'claims', meta FROM code_take('$_')")
	} qw(live spent redeemed);
	is($taken, join("\n",
		'ok|{"n": 12345678901234567890.123}|', 'error||',
		'consumed||{"jti": "t", "subject": "redeemed", "family_id": "fam"}'),
		"$schema: each code goes on from its state, for the role that was granted");
}

done_testing();
