# With shared_preload_libraries the server sweeps by itself: each database that has the extension, whatever
# becomes of databases, extensions, settings and processes meanwhile, and in nobody's way.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('sweeping', "shared_preload_libraries = 'attesto_codes'", "attesto_codes.sweep_interval = '1s'", 'restart_after_crash = on');

# A database with the extension.
sub create
{
	my ($db, $schema, $version) = @_;
	$schema //= 'public';
	$node->safe_psql('postgres', "CREATE DATABASE $db; ALTER DATABASE $db SET search_path = $schema");
	$node->safe_psql($db, "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes " . ($version // ''));
	return;
}

# Puts codes that have expired, all at once.
sub put_due
{
	my ($on, $db, $rows, $name) = @_;
	$name //= 'due';
	my $grant = grant(subject => $name);
	$on->safe_psql($db, "SELECT code_put('$name-' || i, '$grant', 1) FROM generate_series(1, $rows) i");
	return;
}

sub codes { my ($on, $db) = @_; return $on->safe_psql($db, 'SELECT count(*) FROM authorizations'); }

sub is_swept
{
	my ($on, $db, $what) = @_;
	ok($on->poll_query_until($db, 'SELECT NOT EXISTS (SELECT FROM authorizations WHERE expires_at < now() AND consumed_at IS NULL)'), $what);
	return;
}

sub sweeps { return $_[0]->safe_psql('postgres', 'SELECT sweeps FROM code_stats()'); }

# Until every database was visited: between two sweeps of the same one.
sub await_round
{
	my $next = sweeps($node) + 2;
	$node->poll_query_until('postgres', "SELECT sweeps >= $next FROM code_stats()");
	return;
}

# How many sweeps there are in three intervals: for what does not happen there is nothing to wait for.
sub sweeps_meanwhile
{
	my ($on) = @_;
	my $before = sweeps($on);
	$on->safe_psql('postgres', 'SELECT pg_sleep(3)');
	return sweeps($on) - $before;
}

sub set_interval
{
	my ($on, $interval) = @_;
	$on->append_conf('postgresql.conf', "attesto_codes.sweep_interval = '$interval'\n");
	$on->reload;
	return;
}

my $launcher = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'attesto_codes launcher'";

# One sweep that removes something, and others that do not.
put($node, 'live');
put_due($node, 'postgres', 3, 'c2VjcmV0');
is_swept($node, 'postgres', 'rows that are due are swept automatically');
is(codes($node, 'postgres'), 1, 'a live code stays');
await_round();
my $log = slurp_file($node->logfile);
my @lines = $log =~ /(attesto_codes swept.*)/g;
is("@lines", 'attesto_codes swept 3 rows from database "postgres"', 'the log has one line about it');
unlike($log, qr/c2VjcmV0/, 'the line holds no code_hash and no value');

# Databases that come later, and those that are none of its business.
my $seen = -s $node->logfile;
create('later');
create('elsewhere', 'oauth');
$node->safe_psql('postgres', "ALTER DATABASE elsewhere SET default_transaction_isolation = 'serializable'");
create('mould');
create('outdated', 'public', "VERSION '0.1.0'");
$node->safe_psql('postgres', 'ALTER DATABASE mould IS_TEMPLATE true; CREATE DATABASE stranger; CREATE DATABASE closed ALLOW_CONNECTIONS false');
$node->safe_psql('stranger', 'CREATE TABLE authorizations AS SELECT timestamptz \'epoch\' AS expires_at');
$node->safe_psql('outdated', q(INSERT INTO authorizations (expires_at, inserted_at, consumed_success, code_hash, client_id, subject, redirect_uri, scope, resource, claims)
	VALUES ('epoch', 'epoch', false, 'due', 'c', 's', 'r', '{}', '{}', '{}')));
put_due($node, $_, 2) for qw(later elsewhere mould);
is_swept($node, $_, "a database that comes later is swept, too: $_") for qw(later elsewhere);
await_round();
is(codes($node, 'stranger'), 1, 'a table of the same name that is not ours is left alone');
is(codes($node, 'outdated'), 1, 'and an extension that was not updated');
is(codes($node, 'mould'), 2, 'and a template');
is($node->safe_psql('postgres', 'CREATE DATABASE copied TEMPLATE mould'), '', 'the template can be copied');
is_swept($node, 'copied', 'and its copy is swept');

# An extension that goes and comes.
$node->safe_psql('later', 'DROP EXTENSION attesto_codes');
await_round();
$node->safe_psql('later', 'CREATE SCHEMA again; CREATE EXTENSION attesto_codes SCHEMA again; ALTER DATABASE later SET search_path = again');
put_due($node, 'later', 2);
is_swept($node, 'later', 'an extension is dropped, and created in another schema');
unlike(slurp_file($node->logfile, $seen), qr/WARNING|ERROR|FATAL|PANIC/, 'and the log has no complaint about any of this');

# Evidence is kept for as long as the database says.
my $grant = grant();
$node->safe_psql('later', "SELECT code_put('redeemed', '$grant', extract(epoch FROM now())::bigint - 3600)");
$node->safe_psql('later', "SELECT code_take('redeemed'); SELECT code_mark_consumed('redeemed')");
# (No less than ten minutes after it was taken.)
$node->safe_psql('later', "UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes'");
await_round();
is(take($node, 'redeemed', 'later'), 'consumed', 'a redeemed code is kept');
$node->safe_psql('postgres', "ALTER DATABASE later SET attesto_codes.reuse_retention = '30min'");
ok($node->poll_query_until('later', 'SELECT count(*) = 0 FROM authorizations'), 'until its retention in this database is over');

# A spent code is kept for ten minutes: its completion may come after its expiry.
$node->safe_psql('later', "ALTER DATABASE later RESET attesto_codes.reuse_retention");
$node->safe_psql('later', "SELECT code_put(h, '$grant', extract(epoch FROM now())::bigint - 60) FROM unnest('{completed,never completed}'::text[]) h");
$node->safe_psql('later', "SELECT code_take(h) FROM unnest('{completed,never completed}'::text[]) h");
await_round();
is($node->safe_psql('later', "SELECT string_agg(code_hash, ', ' ORDER BY code_hash) FROM authorizations WHERE retain_from IS NULL"), 'completed, never completed', 'spent codes that have expired are kept');
is($node->safe_psql('later', 'SELECT due FROM code_stats()'), 0, 'and are not due');
is($node->safe_psql('later', "SELECT code_complete('completed')"), 'ok', 'one of them is completed');
ok($node->poll_query_until('later', "SELECT retain_from IS NOT NULL FROM authorizations WHERE code_hash = 'completed'"), 'and retained as evidence');
is(codes($node, 'later'), 2, 'the other one is still kept');
$node->safe_psql('later', "UPDATE authorizations SET consumed_at = consumed_at - interval '11 minutes' WHERE code_hash = 'never completed'");
ok($node->poll_query_until('later', "SELECT array_agg(code_hash) = '{completed}' FROM authorizations"), 'until the ten minutes are over');

# Off, and on again.
set_interval($node, 0);
sweeps_meanwhile($node);
put_due($node, 'postgres', 3);
is(sweeps_meanwhile($node), 0, 'with an interval of 0 there are no sweeps');
is(codes($node, 'postgres'), 4, 'and nothing goes');
create('large');
$node->safe_psql('large', q(INSERT INTO authorizations (expires_at, inserted_at, consumed_at, consumed_success, consumed_meta, code_hash, client_id, subject, redirect_uri, scope, resource, claims)
	SELECT now() - (i || ' s')::interval, now(), now(), true, '{}', 'due-' || i, 'c', 's', 'r', '{}', '{}', '{}' FROM generate_series(1, 600000) i));
put_due($node, 'large', 1000, 'first');
$node->safe_psql('large', "SELECT code_put('live-' || i, '$grant', 1800000000) FROM generate_series(1, 100) i");
$seen = -s $node->logfile;
set_interval($node, '1s');
is_swept($node, 'postgres', 'with one of 1 s they go on');

# A backlog of many seconds is in nobody's way.
my $left = q(SELECT count(*) > 0 FROM authorizations WHERE expires_at < now() AND retain_from IS NULL);
$node->wait_for_log(qr/rows from database "large"/, $seen);
is($node->safe_psql('large', "SELECT DISTINCT status FROM generate_series(1, 100) i, code_take('live-' || i)"), 'ok', 'a large backlog: live codes are taken');
is($node->safe_psql('large', "SELECT DISTINCT status FROM generate_series(1, 600000, 6000) i, code_take('due-' || i)"), 'consumed', 'a large backlog: no reuse is missed');
is($node->safe_psql('large', $left), 't', 'a large backlog: while it is being swept');
is($node->safe_psql('postgres', 'DROP DATABASE large'), '', 'a large backlog: the database can be dropped');
put_due($node, 'postgres', 2);
is_swept($node, 'postgres', 'a large backlog: the others are swept after that');

# The server ends in every way, and goes on.
$node->restart;
put_due($node, 'postgres', 2);
is_swept($node, 'postgres', 'after a restart sweeps go on');

sub crash
{
	my ($what, $pid) = @_;
	# A crash resets the counters, which is how it is seen.
	put_due($node, 'postgres', 2, $what);
	kill('KILL', $pid);
	$node->poll_query_until('postgres', 'SELECT puts = 0 FROM code_stats()');
	put_due($node, 'postgres', 2);
	is_swept($node, 'postgres', "after a crash of $what sweeps go on");
	return;
}
my $session = $node->background_psql('postgres', on_error_stop => 0);
crash('a session', $session->query('SELECT pg_backend_pid()'));
$session->{run}->finish;
crash('the launcher', $node->safe_psql('postgres', $launcher));
my $pid = $node->safe_psql('postgres', $launcher);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
ok($node->poll_query_until('postgres', "SELECT pid <> $pid FROM ($launcher) l"), 'a launcher that was terminated comes back');
put_due($node, 'postgres', 2);
is_swept($node, 'postgres', 'and sweeps');

# A standby leaves that to its primary, until there is none.
set_interval($node, 0);
sweeps_meanwhile($node);
put_due($node, 'postgres', 2);
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "attesto_codes.sweep_interval = '1s'\n");
$standby->start;
is(sweeps_meanwhile($standby), 0, 'a standby does not sweep');
is(codes($standby, 'postgres'), 3, 'and has what is due');
is(error_of($standby, 'SELECT code_sweep()'), '25006', 'a standby refuses code_sweep, too');
$node->stop;
$standby->promote;
is_swept($standby, 'postgres', 'until it is promoted');

done_testing();
