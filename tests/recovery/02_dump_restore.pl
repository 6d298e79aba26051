# pg_dump and pg_restore keep every row and state of codes, tokens and families, also where the extension
# has a schema of its own, and the restored extension goes on from there.
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
		FROM unnest('{live,spent,replayed,redeemed,reused}'::text[]) name;
		SELECT code_take(name) FROM unnest('{spent,replayed,replayed,redeemed,reused}'::text[]) name;
		SELECT code_mark_consumed(name, '{"jti": "t"}') FROM unnest('{redeemed,reused}'::text[]) name;
		SELECT code_take('reused');
		SELECT code_put('retained', '${\ grant(family_id => 'fam')}', extract(epoch FROM now())::bigint - 60);
		SELECT code_take('retained'); SELECT code_mark_consumed('retained');
		SELECT code_sweep();
		SELECT code_record_access_token('fam', jti, 1800000000) FROM unnest('{t-1,t-2}'::text[]) jti;
		SELECT code_record_access_token('bad fam', 'bad-t', 1800000000);
		SELECT code_revoke_family(f) FROM unnest('{bad fam,fam without a token}'::text[]) f;));

	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($from) ], "$schema: pg_dump");
	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($to), $dump ], "$schema: pg_restore");

	for ([ authorizations => 6 ], [ authorization_access_tokens => 3 ], [ authorization_revoked_families => 2 ])
	{
		my ($table, $count) = @$_;
		my $rows = "SELECT t::text FROM $schema.$table t ORDER BY 1";
		is($node->safe_psql($to, $rows), $node->safe_psql($from, $rows), "$schema: every row of $table came back");
		is($node->safe_psql($to, "SELECT count(*) FROM $schema.$table"), $count, "$schema: all of them");
	}
	is($node->safe_psql($from, "SELECT count(replayed_at), count(reused_at), count(retain_from) FROM $schema.authorizations"),
		'1|1|1', "$schema: what replays and sweeps leave was among it");
	my $taken = join "\n", map {
		$node->safe_psql($to, "SET ROLE token_$schema; SET search_path = $schema; SELECT status, data->'claims', meta FROM code_take('$_')")
	} qw(live spent redeemed);
	is($taken, join("\n",
		'ok|{"n": 12345678901234567890.123}|', 'error||',
		'consumed||{"jti": "t", "subject": "redeemed", "family_id": "fam"}'),
		"$schema: each code goes on from its state, for the role that was granted");
	is($node->safe_psql($to, "SET search_path = $schema; SELECT code_mark_consumed('replayed')"), 'replayed', "$schema: a replay is remembered");
	is($node->safe_psql($to, "SET search_path = $schema; SELECT code_access_token_revoked(jti) FROM unnest('{t-1,bad-t}'::text[]) jti"),
		"f\nt", "$schema: a revoked token stays revoked, another does not become it");
	is($node->safe_psql($to, "SET search_path = $schema; SELECT code_record_access_token('fam without a token', 'late', 1800000000)"),
		'f', "$schema: and so does a family without a token");
	is($node->safe_psql($to, "SET search_path = $schema; SELECT code_sweep(), status FROM code_take('retained')"),
		'0|consumed', "$schema: evidence is kept");
}

done_testing();
