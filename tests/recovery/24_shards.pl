# Shards and proxies crash, and a shard fails over to its standby, while clients issue and redeem codes through two proxies: no code is
# redeemed twice or lost, and no reuse is missed. What does not need the shard that is away goes on.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use Shards;
use Test::More;

need_plproxy();
my @shards = map { new_shard("shard_$_") } 0, 1;
my $standby = PostgreSQL::Test::Cluster->new('standby');
# The second shard has a standby. Whoever of the two takes writes is the shard.
my $second = sprintf 'host=%s,%s port=%d,%d dbname=codes_1 target_session_attrs=read-write',
  $shards[1]->host, $standby->host, $shards[1]->port, $standby->port;
my @proxies = map { new_proxy("proxy_$_", at($shards[0]), $second) } 0, 1;

sub codes_of { my ($node) = @_; return $node->safe_psql('codes_1', 'SELECT count(*) FROM authorizations'); }

# Waits until the clients have got on.
sub wait_for_codes
{
	my ($node, $what) = @_;
	my $codes = codes_of($node);
	ok($node->poll_query_until('codes_1', "SELECT count(*) > $codes + 30 FROM authorizations"), $what);
	return;
}

# The partition of a name is made known by the proxy, so a test can choose its shard.
sub name_on
{
	my ($shard) = @_;
	return $proxies[0]->safe_psql('postgres',
		"SELECT min(n) FROM generate_series(1, 99) i, concat('name ', random(), i) n WHERE shards.partition(n) / 128 = $shard");
}

sub message { my ($node, $sql) = @_; my ($status, $out, $err) = $node->psql('postgres', $sql); return $err; }

# A shard crashes.
my $clients = start_clients(@proxies);
wait_for_codes($_, 'codes come to both shards') for @shards;
my ($there, $away) = map { name_on($_) } 1, 0;
put($proxies[0], $_) for $there, $away;
crash($shards[0]);
wait_for_codes($shards[1], 'one shard has crashed: the other one goes on');
is(take($proxies[1], $there), 'ok', 'a code of the other one is taken');
like(message($proxies[1], "SELECT code_take('$away')"), qr/^psql:<stdin>:1: ERROR: .*code_take.*connection to server .* failed/s, 'one of this one fails with a clear error');
is(error_of($proxies[1], "SELECT code_take('$away')"), 'XX000', 'which has a SQLSTATE');
start_again($shards[0]);
is(take($proxies[1], $away), 'ok', 'the shard has recovered, and the code is live');
wait_for_codes($shards[0], 'codes come to it again');
my $report = stop_clients($clients, 'a crash of a shard');
cmp_ok(scalar(keys %{ $report->{errors} }), '>', 0, 'calls failed meanwhile');

# The backends of a shard are killed: it crashes and recovers by itself.
$clients = start_clients(@proxies);
for my $shard (@shards)
{
	kill_backend($shard);
	wait_for_codes($shard, 'a backend was killed, and codes come again');
}
stop_clients($clients, 'killed backends of shards');

# A proxy crashes.
$clients = start_clients(@proxies);
wait_for_codes($_, 'codes come to both shards') for @shards;
crash($proxies[0]);
wait_for_codes($_, 'one proxy has crashed: the other one goes on') for @shards;
start_again($proxies[0]);
wait_for_codes($_, 'it is back') for @shards;
stop_clients($clients, 'a crash of a proxy');

# A shard fails over to its synchronous standby.
$shards[1]->backup('base');
$standby->init_from_backup($shards[1], 'base', has_streaming => 1);
$standby->start;
$shards[1]->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$shards[1]->reload;
$shards[1]->poll_query_until('postgres', "SELECT sync_state = 'sync' FROM pg_stat_replication");
$clients = start_clients(@proxies);
wait_for_codes($_, 'codes come to both shards') for @shards;
my $spent = name_on(1);
put($proxies[0], $spent);
is(take($proxies[0], $spent), 'ok', 'a code is spent');
crash($shards[1]);
$standby->promote;
wait_for_codes($standby, 'codes come to the promoted standby, without a change of the map');
is(take($proxies[1], $spent), 'error', 'the code is spent there, too');
stop_clients($clients, 'a failover');

# Codes that need not survive a crash: an asynchronous standby is enough, and the failover spends what is live.
my $next = PostgreSQL::Test::Cluster->new('next');
$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\nsynchronous_commit = off\nattesto_codes.codes_survive_crash = off");
$standby->reload;
$standby->backup('next');
$next->init_from_backup($standby, 'next', has_streaming => 1);
$next->start;
my $third = sprintf 'host=%s,%s port=%d,%d dbname=codes_1 target_session_attrs=read-write', $standby->host, $next->host, $standby->port, $next->port;
$_->safe_psql('postgres', "UPDATE shards.map SET connection = '$third' WHERE partition >= 128") for @proxies;
my ($live, $taken) = (name_on(1), name_on(1));
put($proxies[0], $_) for $live, $taken;
$standby->wait_for_catchup($next);
$next->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
is(take($proxies[0], $taken), 'ok', 'a code is taken, which the standby does not get to know');
crash($standby);
$next->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
$next->promote;
is(take($proxies[1], $_), 'error', "after the failover: no code of the old server's run is handed out") for $live, $taken;
my $new = name_on(1);
put($proxies[0], $new);
is(take($proxies[1], $new), 'ok', 'a new one is');

done_testing();
