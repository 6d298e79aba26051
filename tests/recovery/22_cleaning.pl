# Sweeps without preload and without a scheduler: sessions that put codes start a cleaner when codes have been due for longer than
# sweep_interval. There is one at a time, the put neither waits nor fails, and no role needs a right for it.
use strict;
use warnings;
use AttestoCodes;
use List::Util qw(max sum);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('cleaning', 'max_connections = 40', 'max_worker_processes = 8', "attesto_codes.sweep_interval = '1s'",
	'checkpoint_timeout = 1h', 'max_wal_size = 1GB');
my $grant = grant();
my $old = "SELECT count(*) FROM authorizations WHERE code_hash LIKE 'old%'";

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }
# Codes that are due, and were not when they were put.
sub put_old
{
	my ($number, $db) = @_;
	return sql("SELECT count(code_put('old ' || i, '$grant', 4102444800)) FROM generate_series(1, $number) i;
		UPDATE authorizations SET expires_at = now() - interval '1 hour' WHERE code_hash LIKE 'old%'", $db);
}
# Until all of them are swept, with a statement that puts. The last sweep may have begun less than sweep_interval ago.
sub until_swept { my ($put) = @_; return $node->poll_query_until('postgres', "\\set QUIET 1\n$put\nSELECT ($old) = 0"); }
# Puts by a role that can do nothing else, each in a session of its own.
sub put_as { my ($role, $code) = @_; return sql("SET ROLE $role; SELECT code_put('$code', '$grant', 4102444800)"); }

sql('CREATE ROLE putter; GRANT EXECUTE ON FUNCTION code_put, code_issue TO putter');
put_old(1000);
is(sql($old), 1000, 'codes that are due');
put_as('putter', 'p1');
ok($node->poll_query_until('postgres', "SELECT ($old) = 0"), 'a put by a role that can only put has them swept');
is(sql('SELECT count(*) FROM authorizations'), 1, 'and nothing else');
like(slurp_file($node->logfile), qr/attesto_codes swept 1000 rows from database "postgres"/, 'the log says so');

put_old(10);
ok(until_swept("SELECT code_issue('$grant') \\g /dev/null"), 'code_issue does the same');

# Within a transaction that is rolled back.
put_old(10);
ok(until_swept("BEGIN; SELECT code_put('undone', '$grant', 4102444800) \\g /dev/null\nROLLBACK;"), 'so does a put that is rolled back');

# What is not due, or not for long, starts none; nor do codes that were spent a short time ago.
sub starts_none
{
	my ($what) = @_;
	my $before = -s $node->logfile;
	$node->append_conf('postgresql.conf', "log_min_messages = debug1\nattesto_codes.sweep_interval = '$_[1]'");
	$node->reload;
	put_as('putter', "$what $_") for 1 .. 3;
	my $log = slurp_file($node->logfile, $before);
	like($log, qr/reloading/, "$what: the log has it");
	unlike($log, qr/registering background worker "attesto_codes_cleaner"/, "$what: no cleaner is started");
	$node->append_conf('postgresql.conf', "log_min_messages = warning\nattesto_codes.sweep_interval = '1s'");
	$node->reload;
	return;
}
starts_none('nothing is due', '1s');
put_old(5);
sql("SELECT count(status) FROM generate_series(1, 5) i, code_take('old ' || i); UPDATE authorizations SET code_hash = 'spent' || code_hash WHERE code_hash LIKE 'old%'");
starts_none('all were spent a short time ago', '1s');
put_old(10);
starts_none('it is turned off', '0');
starts_none('nothing has been due for so long', '2h');
ok(until_swept("SELECT code_put(gen_random_uuid()::text, '$grant', 4102444800) \\g /dev/null"), 'and then one is');
sql(q(DELETE FROM authorizations));

# Evidence whose time is over is due, too.
sql(qq(INSERT INTO authorizations (code_hash, client_id, subject, redirect_uri, scope, resource, claims, inserted_at, expires_at, consumed_at, consumed_success, retain_from)
	SELECT 'old evidence', 'c', 's', 'r', '{}', '{}', '{}', long_ago, long_ago, long_ago, true, long_ago FROM (SELECT now() - interval '31 days') t(long_ago)));
ok(until_swept("SELECT code_put(gen_random_uuid()::text, '$grant', 4102444800) \\g /dev/null"), 'evidence whose time is over is swept');
sql(q(DELETE FROM authorizations));

# Of many sessions at once.
my $many = PostgreSQL::Test::Utils::tempdir() . '/many.sql';
append_to_file($many, "SELECT code_put('many ' || :client_id || ' ' || gen_random_uuid(), '$grant', 1);\n");
my $before = -s $node->logfile;
command_ok([ 'pgbench', '-n', '-c', 20, '-j', '2', '-T', 5, '-f', $many, '-d', $node->connstr('postgres') ], '20 sessions put codes that are due');
my @sweeps = slurp_file($node->logfile, $before) =~ /^(\S+ \S+) .*attesto_codes swept/mg;
cmp_ok(scalar(@sweeps), '>', 0, 'they are swept: ' . scalar(@sweeps));
ok($node->poll_query_until('postgres', "SELECT code_put('last ' || gen_random_uuid(), '$grant', 4102444800) \\g /dev/null\nSELECT count(*) = 0 FROM authorizations WHERE code_hash LIKE 'many%'"), 'all of them');

# The commits of others wait for what a sweep has written, so it commits often.
put_old(20000);
my $begin = sql('SELECT pg_current_wal_insert_lsn()');
put_as('putter', 'often');
ok(until_swept("SELECT code_put(gen_random_uuid()::text, '$grant', 4102444800) \\g /dev/null"), 'many rows are swept');
my $end = sql('SELECT pg_switch_wal()');
my ($records) = run_command([ 'pg_waldump', '--path', $node->data_dir . '/pg_wal', '--rmgr', 'Heap', '--start', $begin, '--end', $end ]);
my %written;
$written{$2} += $1 while $records =~ m{^rmgr: Heap .*/ *(\d+), tx: +(\d+),.* desc: DELETE}mg;
cmp_ok(sum(values %written), '>', 600_000, 'that is much to write');
cmp_ok(max(values %written), '<', 500_000, 'but not for one commit');

# The cleaner is terminated, and another one goes on.
put_old(200000);
sql('CREATE TABLE swept (by int); CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.swept VALUES (pg_backend_pid()); PERFORM pg_sleep(0.005); RETURN OLD; END $$;
	CREATE TRIGGER slow BEFORE DELETE ON authorizations FOR EACH ROW EXECUTE FUNCTION slow()');
put_as('putter', 'slow');
ok($node->poll_query_until('postgres', 'SELECT count(*) > 200 FROM swept'), 'a cleaner has much to do');
# Those that are due have waited for longer than sweep_interval since it began.
put_as('putter', "slow $_") for 1 .. 20;
ok($node->poll_query_until('postgres', 'SELECT count(*) > 600 FROM swept'), 'others come meanwhile');
is(sql('SELECT count(DISTINCT by) FROM swept'), 1, 'it is alone');
is(sql('SELECT pg_terminate_backend(by, 10000) FROM swept LIMIT 1'), 't', 'it is terminated');
sql('DROP TRIGGER slow ON authorizations');
ok(until_swept("SELECT code_put(gen_random_uuid()::text, '$grant', 4102444800) \\g /dev/null"), 'another one goes on');

# A database that is swept can be dropped.
sql('CREATE DATABASE dropped');
sql('CREATE EXTENSION attesto_codes', 'dropped');
put_old(50000, 'dropped');
sql("SELECT code_put('start', '$grant', 4102444800)", 'dropped');
sql("SET statement_timeout = '4s'; DROP DATABASE dropped");
pass('a database can be dropped while it is swept');

# No place for a worker: the put neither waits nor fails, and a later one has it swept.
$node->append_conf('postgresql.conf', "max_worker_processes = 0\nmax_parallel_workers = 0\nmax_logical_replication_workers = 0");
$node->restart;
put_old(10);
is(error_of($node, "SET statement_timeout = '2s'; SELECT code_put('no place', '$grant', 4102444800)"), '', 'a put where no worker is free');
is(sql($old), 10, 'nothing is swept');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
put_as('putter', 'place');
ok($node->poll_query_until('postgres', "SELECT ($old) = 0"), 'a later put has it swept');

# With preload the launcher does it.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'\nattesto_codes.sweep_interval = '2000000s'");
$node->restart;
put_old(10);
$node->append_conf('postgresql.conf', "attesto_codes.sweep_interval = '1s'\nlog_min_messages = debug1");
$node->reload;
$before = -s $node->logfile;
put_as('putter', 'with preload');
ok($node->poll_query_until('postgres', "SELECT ($old) = 0"), 'with preload they are swept');
unlike(slurp_file($node->logfile, $before), qr/attesto_codes_cleaner/, 'by the launcher');

$node->stop;
done_testing();
