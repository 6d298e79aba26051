# What a take has answered is on disk, whatever synchronous_commit says: the server is crashed right
# after the answer, 140 times; no code comes back, and no replay is forgotten. An UPDATE by hand, which
# has no such promise, is lost the same way: it shows that the crash does lose unflushed writes.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my ($rounds, $replays) = (25, 10);
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

sub answer
{
	my ($way, $code, $round) = @_;
	my $commit = $round % 2 ? 'off' : 'on';
	return $node->safe_psql('postgres', "SET synchronous_commit = $commit; " . sprintf($ways{$way}, $code));
}

sub rounds
{
	my ($preload) = @_;
	for my $way (sort keys %ways)
	{
		my $alive = 0;
		for my $round (1 .. $rounds)
		{
			my $code = "$preload-$way-$round";
			put($node, $code);
			my $answer = answer($way, $code, $round);
			crash();
			$alive++ unless $answer =~ /^ok\|/ && take($node, $code) eq 'error';
		}
		is($alive, 0, "$preload, in $way: of $rounds takes none came back");

		my $unseen = 0;
		for my $round (1 .. $replays)
		{
			my $code = "$preload-$way-replay-$round";
			put($node, $code);
			take($node, $code);
			my $answer = answer($way, $code, $round);
			crash();
			$unseen++ unless $answer =~ /^error\|/ && $node->safe_psql('postgres', "SELECT code_mark_consumed('$code')") eq 'replayed';
		}
		is($unseen, 0, "$preload, in $way: of $replays replays none was forgotten");
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
