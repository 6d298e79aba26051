# A take that answered ok is on disk, whatever synchronous_commit says: the server is crashed right
# after the answer, 100 times, and no code comes back. An UPDATE by hand, which has no such promise,
# is lost the same way: it shows that the crash does lose what is not flushed.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my $rounds = 25;
my %ways = (
	'a statement of its own' => "SELECT * FROM code_take('%s')",
	'a transaction' => "BEGIN; SELECT * FROM code_take('%s'); COMMIT");

# The WAL writer would flush the UPDATE by hand before long.
my $node = new_primary('crash', 'synchronous_commit = off', 'wal_writer_delay = 10s', 'autovacuum = off');

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

sub rounds
{
	my ($preload) = @_;
	for my $way (sort keys %ways)
	{
		my $alive = 0;
		for my $round (1 .. $rounds)
		{
			my $commit = $round % 2 ? 'off' : 'on';
			my $code = "$preload-$way-$round";
			put($node, $code);
			my $answer = $node->safe_psql('postgres', "SET synchronous_commit = $commit; " . sprintf($ways{$way}, $code));
			crash();
			$alive++ unless $answer =~ /^ok\|/ && take($node, $code) eq 'error';
		}
		is($alive, 0, "$preload, in $way: of $rounds takes none came back");
	}
	return;
}

rounds('without preload');
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'");
$node->restart;
rounds('with preload');

put($node, 'by hand');
$node->safe_psql('postgres',
	"SET synchronous_commit = off; UPDATE authorizations SET consumed_at = now() WHERE code_hash = 'by hand'");
crash();
is(take($node, 'by hand'), 'ok', 'an UPDATE by hand is lost');

done_testing();
