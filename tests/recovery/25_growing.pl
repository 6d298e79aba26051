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
# If the split committed asynchronously, its standby would not get that for ten seconds.
my @old = map { new_shard("old_$_", 'synchronous_commit = off', 'wal_writer_delay = 10s') } 0, 1;
my @proxies = map { new_proxy("proxy_$_", map { at($_) } @old) } 0, 1;
my $forgotten = new_proxy('forgotten', map { at($_) } @old);

sub value { my ($node, $sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

sub new_standby
{
	my ($name, $of) = @_;
	$of->backup($name);
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init_from_backup($of, $name, has_streaming => 1);
	$node->start;
	return $node;
}

my @new = map { new_standby("new_$_", $old[$_]) } 0, 1;

# Calls wait for longer than an idle transaction may last.
my @command = ($grow, (map { ('--proxy', $_->connstr('postgres') . " options='-c idle_in_transaction_session_timeout=5s'") } @proxies));
sub new_at { return at($new[ $_[0] ], 'codes_2') . ' target_session_attrs=read-write'; }
sub splits { return map { ('--split', at($old[$_]), new_at($_)) } 0, 1; }
sub mark { return value($_[0], "SELECT setconfig FROM pg_db_role_setting"); }
sub open_databases { return value($_[0], "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname ~ 'codes' AND datallowconn"); }

# What is wrong is found before anything is changed.
$proxies[0]->command_fails_like([ @command, '--split', at($new[0]), at($old[0], 'codes_2') ], qr/maps of the proxies differ/, 'what stands in no map is no shard');
$proxies[0]->command_fails_like([ @command, '--split', at($old[0]), at($new[1], 'codes_2') ], qr/is no standby of/, 'nor is another server a standby');

$proxies[0]->command_fails_like([ @command, splits(), '--map-only' ], qr/this server is not split/, 'the maps alone, before a split');
value($old[1], 'CREATE DATABASE codes_2');
$proxies[0]->command_fails_like([ @command, splits() ], qr/there is a codes_2 already/, 'the new name is taken');
value($old[1], 'DROP DATABASE codes_2');
$new[1]->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$new[1]->reload;
ok($new[1]->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = 'nobody'"), 'a new server would wait for a standby');
$proxies[0]->command_fails_like([ @command, splits() ], qr/empty synchronous_standby_names there/, 'which is refused');
$new[1]->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$new[1]->reload;
ok($new[1]->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = ''"), 'it does not any more');

my $with_standby = at($old[0]) =~ s/ /,@{[ $new[0]->host ]} /r =~ s/port=(\d+)/port=$1,@{[ $new[0]->port ]}/r;
value($_, "UPDATE shards.map SET connection = '$with_standby' WHERE connection = '@{[ at($old[0]) ]}'") for @proxies;
$proxies[0]->command_fails_like([ @command, '--split', $with_standby, new_at(0) ], qr/stands in the map already/, 'a standby that the map names is no new server');
value($_, "UPDATE shards.map SET connection = '@{[ at($old[0]) ]}' WHERE connection = '$with_standby'") for @proxies;
value($_, "UPDATE shards.map SET connection = connection || ' ' WHERE partition = 0") for @proxies;
$proxies[0]->command_fails_like([ @command, splits() ], qr/in another spelling/, 'a shard has one spelling');
value($_, "UPDATE shards.map SET connection = rtrim(connection) WHERE partition = 0") for @proxies;

put($proxies[0], "before $_") for 1 .. 20;
is(take($proxies[0], "before $_"), 'ok', "before $_: taken before the split") for 1 .. 10;

my $clients = start_clients(@proxies);
$old[0]->poll_query_until('codes_1', 'SELECT count(*) > 200 FROM authorizations');

# A standby that does not catch up: everything goes back to what it was, and the calls go on.
$new[0]->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$proxies[0]->command_fails_like([ @command, splits() ], qr/did not come true: SELECT EXISTS|far behind/, 'a standby does not catch up');
sub is_as_it_was
{
	is(value($_, 'SELECT count(DISTINCT connection) FROM shards.map'), 2, 'the maps are as they were') for @proxies;
	is(open_databases($_), 'codes_1', 'the shards, too') for @old;
	is(mark($_), '', 'no mark is left') for @old;
	return;
}
is_as_it_was();
my $of_ended = '';
my $ended = IPC::Run::start([ @command, splits() ], '>&', \$of_ended);
ok($_->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_db_role_setting'), 'a standby is awaited') for @old;
$ended->signal('TERM');
ok(!$ended->finish, 'then comes a signal');
like($of_ended, qr/ended by a signal/, 'which is the reason');
is(() = $of_ended =~ /: as it was/g, 2, 'and everything goes back');
is_as_it_was();
$new[0]->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
my $rows = value($old[0], 'SELECT count(*) FROM authorizations', 'codes_1');
$old[0]->poll_query_until('codes_1', "SELECT count(*) > $rows + 100 FROM authorizations");

# A transaction that stays open on a proxy keeps the split waiting, and another one that was started, too, and the calls go on.
my $open = $proxies[1]->background_psql('postgres');
$open->query_safe("BEGIN; SELECT code_family_revoked('x')");
# One that has only taken its snapshot does not. It sees the old map afterwards, with which no shard lets it in.
my $old_snapshot = $proxies[0]->background_psql('postgres', on_error_stop => 0);
$old_snapshot->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class');
my @said = ('', '');
my @runs = map { IPC::Run::start([ @command, splits() ], '>&', \$said[$_]) } 0, 1;
for my $run (0, 1)
{
	$runs[$run]->pump until $said[$run] =~ /once more/;
}
$open->query_safe('COMMIT');
my @ended = sort map { $_->finish ? 1 : 0 } @runs;
is_deeply(\@ended, [ 0, 1 ], 'the shards are split, once') or diag(@said);
like("@said", qr/an OLD does not stand there/, 'the other one finds nothing to split');
note(@said);
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
	my $mine = value($proxies[0], sprintf "SELECT string_agg(partition::text, ',') FROM shards.map WHERE connection ~ '^%s( |\$)'", at($node, 'codes_2'));
	is(scalar(split /,/, $mine), 64, 'a shard has 64 partitions');
	value($node, $removal =~ s/\bmine\b/$mine/gr, 'codes_2');
}
is(value($proxies[0], 'SELECT live + spent + redeemed FROM code_stats()'), $stored, 'each once, without those of the other half');

# Shards that have grown out of one, each with the standby of the other. One of them dies meanwhile: what can be taken back is taken
# back, and what cannot is named.
$forgotten->command_fails_like([ $grow, '--proxy', $forgotten->connstr('postgres'), splits(), '--map-only' ], qr/an OLD does not stand there/,
	'a map is not changed twice');
# Each has the name that the other one waits for.
my @late = (new_standby('late_0', $new[0]), new_standby('late_1', $old[0]));
my $file = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint / pg_size_bytes(current_setting('wal_segment_size'))";
for my $pair ([ $old[0], $new[0] ], [ $new[0], $old[0] ])
{
	# Neither is far behind the other.
	my ($one, $other) = @$pair;
	value($one, "SELECT pg_logical_emit_message(false, 'next', 'file'); SELECT pg_switch_wal()") while value($one, $file) < value($other, $file);
}
$new[0]->wait_for_catchup($late[0]);
$old[0]->wait_for_catchup($late[1]);
my %mark = map { $_->name => mark($_) } $old[0], $new[0];
my $said = '';
my $split = IPC::Run::start([ @command, '--proxy', $forgotten->connstr('postgres'),
	'--split', at($old[0], 'codes_2'), at($late[0], 'codes_3'), '--split', new_at(0), at($late[1], 'codes_3') ], '>&', \$said);
ok($new[0]->poll_query_until('postgres', "SELECT setconfig <> '$mark{ $new[0]->name }' FROM pg_db_role_setting"), 'both have the new name');
$new[0]->stop('immediate');
ok(!$split->finish, 'standbys of other shards, and one shard dies');
like($said, qr/did not come true: SELECT EXISTS/, 'they are not taken for those of their own');
like($said, qr/^\S+ \Q@{[ new_at(0) ]}\E: take this back by hand/m, 'the shard that died is named');
like($said, qr/^\S+ \Q@{[ at($old[0], 'codes_2') ]}\E: as it was/m, 'the other one is as it was');
is(open_databases($old[0]), 'codes_2', 'with its name');
is(mark($old[0]), $mark{ $old[0]->name }, 'and its mark');
is(value($_, 'SELECT pg_is_in_recovery()'), 't', 'no standby was promoted') for @late;

# It is taken back by hand, and each gets the standby of its own.
$new[0]->start;
value($new[0], 'ALTER DATABASE codes_3 RENAME TO codes_2');
value($new[0], 'ALTER DATABASE codes_2 ALLOW_CONNECTIONS true');
put($proxies[0], "grown $_") for 1 .. 20;
sub pairs { my ($first, $second) = @_; return ('--split', at($old[0], 'codes_2'), at($first, 'codes_3'), '--split', new_at(0), at($second, 'codes_3')); }
$_->[0]->wait_for_catchup($_->[1]) for [ $old[0], $late[1] ], [ $new[0], $late[0] ];

# The split is killed when the standbys are promoted, and the maps are not changed yet.
my $former = mark($new[0]);
$late[0]->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
my $of_killed = '';
my $killed = IPC::Run::start([ @command, pairs(@late[ 1, 0 ]) ], '>&', \$of_killed);
ok($new[0]->poll_query_until('postgres', "SELECT setconfig <> '$former' FROM pg_db_role_setting"), 'both have the new name again');
my $holder = $old[0]->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE pg_database IN SHARE MODE');
$late[0]->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
ok($_->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'a standby is promoted') for @late;
my $waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER DATABASE%'";
ok($old[0]->poll_query_until('postgres', "SELECT count(*) = 1 $waiting"), 'the old shard is still closed');
$killed->signal('KILL');
$killed->finish;
unlike($of_killed, qr/the map is changed/, 'no map is changed');
my $closed = join ', ', map { "'$_'" } at($old[0], 'codes_2'), new_at(0);
my $there = value($proxies[0], "SELECT string_agg('grown ' || n, ',') FROM generate_series(1, 20) n JOIN shards.map ON partition = shards.partition('grown ' || n) WHERE connection IN ($closed)");
like($there, qr/,/, 'some codes are there');
is(error_of($proxies[0], "SELECT code_take('$_')"), 'XX000', "$_: an error") for split /,/, $there;

# The page says what to do. No proxy takes another pair, although all these shards are of one origin.
value($old[0], "SELECT pg_terminate_backend(pid) $waiting");
$holder->quit;
value($_, 'ALTER DATABASE codes_3 ALLOW_CONNECTIONS true') for $old[0], $new[0], @late;
my @map_only = ($grow, (map { ('--proxy', $_->connstr('postgres')) } @proxies, $forgotten), '--map-only');
$forgotten->command_fails_like([ @map_only, pairs(@late) ], qr/was not split from/, 'another pair of the same origin');
$forgotten->command_ok([ @map_only, pairs(@late[ 1, 0 ]) ], 'its own pairs');
is(take($proxies[ $_ % 2 ], "grown $_"), 'ok', "grown $_: live") for 1 .. 20;
is(take($forgotten, "grown $_"), 'error', "grown $_: once") for 1 .. 20;

done_testing();
