# A store of two shards becomes one of four while clients issue and redeem codes through two proxies: contrib/plproxy/grow.py. No
# call fails, no code is redeemed twice or lost, and no reuse is missed. A proxy that was forgotten gets errors, and spends nothing.
use strict;
use warnings;
use AttestoCodes;
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Shards;
use Test::More;

need_plproxy();
my $grow = "$FindBin::Bin/../../contrib/plproxy/grow.py";
my @old = map { new_shard("old_$_") } 0, 1;
my @proxies = map { new_proxy("proxy_$_", map { at($_) } @old) } 0, 1;
my $forgotten = new_proxy('forgotten', map { at($_) } @old);

sub value { my ($node, $sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

my @new = map {
	$old[$_]->backup('base');
	my $node = PostgreSQL::Test::Cluster->new("new_$_");
	$node->init_from_backup($old[$_], 'base', has_streaming => 1);
	$node->start;
	$node;
} 0, 1;

my @command = ($grow, (map { ('--proxy', $_->connstr('postgres')) } @proxies));
sub splits { return map { ('--split', at($old[$_]), at($new[$_], 'codes_2')) } 0, 1; }

# What is wrong is found before anything is changed.
$proxies[0]->command_fails_like([ @command, '--split', at($new[0]), at($old[0], 'codes_2') ], qr/maps of the proxies differ/, 'what stands in no map is no shard');
$proxies[0]->command_fails_like([ @command, '--split', at($old[0]), at($new[1], 'codes_2') ], qr/is no standby of/, 'nor is another server a standby');

put($proxies[0], "before $_") for 1 .. 20;
is(take($proxies[0], "before $_"), 'ok', "before $_: taken before the split") for 1 .. 10;

my $clients = start_clients(@proxies);
$old[0]->poll_query_until('codes_1', 'SELECT count(*) > 200 FROM authorizations');

# A standby that does not catch up: everything goes back to what it was, and the calls go on.
$new[0]->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$proxies[0]->command_fails_like([ @command, splits() ], qr/did not come true: SELECT pg_last_wal_replay_lsn|far behind/, 'a standby does not catch up');
is(value($_, 'SELECT count(DISTINCT connection) FROM shards.map'), 2, 'the maps are as they were') for @proxies;
is(value($_, "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ 'codes' AND datallowconn"), 'codes_1', 'the shards, too') for @old;
$new[0]->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
my $rows = value($old[0], 'SELECT count(*) FROM authorizations', 'codes_1');
$old[0]->poll_query_until('codes_1', "SELECT count(*) > $rows + 100 FROM authorizations");

# A transaction that stays open on a proxy keeps the split waiting, and the calls go on.
my $open = $proxies[1]->background_psql('postgres');
$open->query_safe("BEGIN; SELECT code_family_revoked('x')");
# One that has only taken its snapshot does not. It sees the old map afterwards, with which no shard lets it in.
my $old_snapshot = $proxies[0]->background_psql('postgres', on_error_stop => 0);
$old_snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
my $said = '';
my $split = IPC::Run::start([ @command, splits() ], '>&', \$said);
IPC::Run::pump($split) until $said =~ /once more/;
$open->query_safe('COMMIT');
ok(IPC::Run::finish($split), 'the shards are split') or diag($said);
note($said);
$open->quit;
$old_snapshot->query("SELECT code_family_revoked('x')");
like($old_snapshot->{stderr}, qr/database "codes_1" does not exist/, 'an old snapshot leads to an error');
is($old_snapshot->query("ROLLBACK; SELECT code_family_revoked('x')"), 'f', 'and its end to the new map');
$old_snapshot->quit;

my @stores = ((map { [ $_, 'old' ] } @old), (map { [ $_, 'new' ] } @new));
for my $store (@stores)
{
	my ($node, $name) = @$store;
	my $rows = value($node, 'SELECT count(*) FROM authorizations', 'codes_2');
	ok($node->poll_query_until('codes_2', "SELECT count(*) > $rows + 50 FROM authorizations"), "codes come to each shard: $name");
}
my $report = stop_clients($clients, 'growing');
is_deeply($report->{errors}, {}, 'no call failed');

# The new halves: what was spent before is spent, and what was live is live, once.
is(take($proxies[1], "before $_"), 'error', "before $_: spent") for 1 .. 10;
is(take($proxies[1], "before $_"), 'ok', "before $_: live") for 11 .. 20;
is(take($proxies[0], "before $_"), 'error', "before $_: taken once") for 11 .. 20;

# The proxy that was forgotten: no shard lets it in.
put($proxies[0], "after $_") for 1 .. 10;
is(error_of($forgotten, "SELECT code_take('after $_')"), 'XX000', "after $_: a proxy with the old map gets an error") for 1 .. 10;
$forgotten->command_ok([ $grow, '--proxy', $forgotten->connstr('postgres'), splits(), '--map-only' ], 'its map is changed afterwards');
is(take($forgotten, "after $_"), 'ok', "after $_: and the code is live") for 1 .. 10;
is(value($forgotten, 'SELECT string_agg(connection, chr(10) ORDER BY partition) FROM shards.map'),
	value($proxies[0], 'SELECT string_agg(connection, chr(10) ORDER BY partition) FROM shards.map'), 'its map is that of the others');

# Each of the four has the rows of two. The half that went away is removed, as the page says.
my ($removal) = slurp_file("$FindBin::Bin/../../docs/scale-out.md") =~ /```sql remove\n(.*?)```/s;
my $stored = $report->{issued} + 30;
cmp_ok(value($proxies[0], 'SELECT live + spent + redeemed FROM code_stats()'), '>', $stored, 'rows are there twice');
for my $store (@stores)
{
	my ($node) = @$store;
	my $mine = value($proxies[0], sprintf "SELECT string_agg(partition::text, ',') FROM shards.map WHERE connection = '%s'", at($node, 'codes_2'));
	is(scalar(split /,/, $mine), 64, 'a shard has 64 partitions');
	value($node, $removal =~ s/\bmine\b/$mine/gr, 'codes_2');
}
is(value($proxies[0], 'SELECT live + spent + redeemed FROM code_stats()'), $stored, 'each once, without those of the other half');

done_testing();
