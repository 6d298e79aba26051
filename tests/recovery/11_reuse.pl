# What a replay leaves survives the rollback of the replayer: a spent code is marked as replayed, and the first reuse
# of a redeemed one is announced, once, with and without preload. By code_redeem, both revoke the names of the code.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my $node = new_primary('reuse');
my %ways = (
	'alone' => 'SELECT status FROM %s',
	'rolled back' => 'BEGIN; SELECT status FROM %s; ROLLBACK',
	'rolled back to a savepoint' => 'BEGIN; SAVEPOINT s; SELECT status FROM %s; ROLLBACK TO s; COMMIT');
my %calls = (take => "code_take('%s')", redeem => "code_redeem('%s', 'c', 'r')");

# What a listener was told until the word comes.
sub told_until
{
	my ($listener, $word) = @_;
	my $told = '';
	$node->safe_psql('postgres', "NOTIFY attesto_codes_reuse, '$word'");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		$told .= $listener->query_safe('SELECT pg_sleep(0.1)');
		return $told if $told =~ /$word/;
	}
	die "$word did not come";
}

for my $preload ('', "shared_preload_libraries = 'attesto_codes'")
{
	my $name = $preload ? 'with preload' : 'without preload';
	$node->append_conf('postgresql.conf', "$preload\n");
	$node->restart;
	my $listener = $node->background_psql('postgres');
	$listener->query_safe('LISTEN attesto_codes_reuse');
	for my $case (map { my $way = $_; map { "$way, $_" } sort keys %calls } sort keys %ways)
	{
		my $code = "$name, $case";
		my ($way, $call) = split /, /, $case;
		my $replay = sprintf $ways{$way}, sprintf $calls{$call}, $code;
		my $revoked = "SELECT array_agg(family_id ORDER BY family_id) FROM authorization_revoked_families WHERE family_id LIKE '%$code'";
		put($node, $code, family_id => "family of $code", subject => "subject of $code");
		take($node, $code);
		is($node->safe_psql('postgres', $replay), 'error', "$code: a replay of a spent code");
		is($node->safe_psql('postgres', $revoked), $call eq 'redeem' ? qq({"family of $code","$code"}) : '', "$code: revokes its names by code_redeem");
		is($node->safe_psql('postgres', "SELECT code_mark_consumed('$code')"), 'replayed', "$code: is seen by the mark");
		is($node->safe_psql('postgres', $replay), 'consumed', "$code: a reuse of a redeemed one") for 1 .. 2;
		my @told = told_until($listener, "after $code") =~ /Asynchronous notification "attesto_codes_reuse" with payload "(\{.*\})" received/g;
		is(scalar(@told), 1, "$code: is announced once");
		is($node->safe_psql('postgres', qq(SELECT n - 'when', abs((n->>'when')::bigint - extract(epoch FROM now())) < 60 FROM (SELECT '$told[0]'::jsonb n) told)),
			qq({"subject": "subject of $code", "client_id": "c", "family_id": "family of $code"}|t), "$code: with what one needs to revoke");
		is($node->safe_psql('postgres', $revoked =~ s/array_agg.*\)/count(*)/r), $call eq 'redeem' ? 2 : 0, "$code: and nothing is revoked twice");
	}
	$listener->quit;
}

done_testing();
