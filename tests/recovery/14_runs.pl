# attesto_codes.codes_survive_crash = off: a presentation waits for no disk, and yet no crash brings its code back, nor does the
# promotion of a standby. A crash spends all codes of its run, and so does a restore; an orderly restart spends none.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The WAL writer would soon flush the writes that are to be lost.
my $node = new_primary('runs', 'synchronous_commit = off', 'wal_writer_delay = 10s', 'autovacuum = off',
	'restart_after_crash = on');
my $setting = 'SET attesto_codes.codes_survive_crash = off';
my $redeem = "SELECT status, reason FROM code_redeem('%s', 'c', 'r', NULL, NULL, '{}')";

# On disk, so that a crash does not lose it.
sub put_in_run
{
	my ($code, $on) = @_;
	($on // $node)->safe_psql('postgres', "SET synchronous_commit = on; $setting; SELECT code_put('$code', '${\ grant()}', 1800000000)");
	return;
}

sub value { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

sub crash
{
	my $started = value('SELECT pg_postmaster_start_time()');
	kill_backend($node);
	is(value('SELECT pg_postmaster_start_time()'), $started, 'the postmaster lives on');
	return;
}

my %crashes = (
	'a crash of the server' => sub { $node->stop('immediate'); $node->start; },
	'a crash of a backend' => \&crash);

my $lost = 0;
for my $crash (sort keys %crashes)
{
	for my $round (1 .. 5)
	{
		put_in_run("$_ $crash $round") for qw(taken redeemed live);
		put($node, "survivor $crash $round");
		is(take($node, "taken $crash $round"), 'ok', "round $round: a code is taken");
		is(value(sprintf $redeem, "redeemed $crash $round"), 'ok|', 'and one redeemed');
		$crashes{$crash}->();
		$lost++ if value("SELECT consumed_at IS NULL FROM authorizations WHERE code_hash = 'taken $crash $round'") eq 't';
		is(value("SELECT count(*) FROM code_get('taken $crash $round')"), 0, "$crash does not bring it back");
		is(take($node, "taken $crash $round"), 'error', 'and it cannot be taken');
		is(value("SELECT code_mark_consumed('taken $crash $round')"), 'replayed', 'its mark tells that something may be lost');
		is(take($node, "taken $crash $round"), 'consumed', 'and counts');
		my $is_lost = value("SELECT consumed_at IS NULL FROM authorizations WHERE code_hash = 'redeemed $crash $round'") eq 't';
		is(value(sprintf $redeem, "redeemed $crash $round"), $is_lost ? 'error|spent' : 'consumed|', 'the redeemed one cannot be redeemed again');
		is(error_of($node, "SELECT code_complete('redeemed $crash $round')"), '55000', 'nor completed');
		is(take($node, "live $crash $round"), 'error', 'a code that was not taken is spent, too');
		is(take($node, "survivor $crash $round"), 'ok', 'one that was to survive is live');
	}
}
cmp_ok($lost, '>', 0, "of 10 spends the crash lost some ($lost): they did not wait for the disk");

put_in_run('restart');
$node->restart;
is(take($node, 'restart'), 'ok', 'an orderly restart spends nothing');

put_in_run($_) for 'dump', 'spent';
put($node, 'kept');
is(take($node, 'spent'), 'ok', 'a code is taken before the dump');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
value('CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restore');
is(take($node, 'dump', 'restored'), 'error', 'a restored code of a run is spent');
is(take($node, 'kept', 'restored'), 'ok', 'another is live');
is(take($node, 'spent', 'restored'), 'error', 'and one that was spent is spent');
# Over the rows that are there: the run is over, and stays so.
$crashes{'a crash of the server'}->();
$node->psql('postgres', slurp_file($dump));
is(take($node, 'dump'), 'error', 'a restore over rows of a run that is over does not bring it back');

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
put_in_run($_) for 'failover', 'failover redeemed', 'failover live';
put($node, 'failover survivor');
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT data->>'client_id' FROM code_get('failover')"), 'c', 'a standby sees the codes of a run');
# The spend does not reach the standby.
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
is(take($node, 'failover'), 'ok', 'a code is taken on the primary');
is(value(sprintf $redeem, 'failover redeemed'), 'ok|', 'and one redeemed');
$node->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', "SELECT status FROM code_take('$_->[0]')"), $_->[1], "after the promotion: $_->[0]")
  for [ 'failover', 'error' ], [ 'failover live', 'error' ], [ 'failover survivor', 'ok' ];
is($standby->safe_psql('postgres', sprintf $redeem, 'failover redeemed'), 'error|spent', 'after the promotion: failover redeemed');
is(error_of($standby, "SELECT code_complete('failover redeemed')"), '55000', 'which cannot be completed either');
put_in_run('new', $standby);
is(take($standby, 'new'), 'ok', 'the new primary has a run of its own');

done_testing();
