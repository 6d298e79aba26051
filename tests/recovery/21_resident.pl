# The resident worker: a take inside a transaction starts it, sessions find it, it is alone in its database, and it keeps nobody
# from the database. Whatever becomes of it, of the server, of the table that leads to it or of the extension, the next take
# is answered as it should be.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('resident', 'max_connections = 1100', 'max_worker_processes = 8', 'restart_after_crash = on');
my $grant = grant();
my $residents = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident' AND datname = current_database()";
my $counted = 'SELECT spends_oneshot, spends_resident FROM code_stats()';

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }

# A take in a transaction that is rolled back.
sub in_block
{
	my ($code, $db) = @_;
	return sql("SELECT code_put('$code', '$grant', 4102444800) \\g /dev/null\nBEGIN;\nSELECT status FROM code_take('$code');\nROLLBACK;", $db);
}

sub until_there { my ($db) = @_; return $node->poll_query_until($db // 'postgres', "SELECT ($residents) = 1"); }
sub until_gone { my ($db) = @_; return $node->poll_query_until($db // 'postgres', "SELECT ($residents) = 0"); }
sub in_new_database
{
	my ($db) = @_;
	sql("CREATE DATABASE $db");
	sql('CREATE EXTENSION attesto_codes', $db);
	is(in_block('h', $db), 'ok', "$db: a take starts a resident worker");
	until_there($db);
	return;
}

# It is started once, and found. A session keeps its counters, and with them the queue.
is(sql('SELECT coalesce(puts, spends_oneshot, spends_resident) IS NULL FROM code_stats()'), 't', 'at first nothing is counted');
is(in_block('first'), 'ok', 'the first take');
until_there();
my $session = $node->background_psql('postgres');
is($session->query_safe($counted), '0|1', 'is carried out by it');
is(in_block('second'), 'ok', 'the next one');
is($session->query_safe($counted), '0|2', 'finds it');
is(sql($residents), 1, 'there is one');
is($session->query_safe('SELECT puts, takes_ok FROM code_stats()'), '1|2', 'other sessions count, too');

# It leaves when nothing is to do, and the next take starts it again.
until_gone();
pass('it leaves when there is nothing to do');
is(in_block('after idling'), 'ok', 'the next take');
until_there();
is($session->query_safe($counted), '0|3', 'starts it again');
is(sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'"), 't', 'it is terminated');
is(in_block('after its end'), 'ok', 'the next take');
is($session->query_safe($counted), '0|4', 'starts it again');

# Many at once start one.
sub many
{
	my ($what) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/many.sql';
	unlink $script;
	append_to_file($script, "BEGIN;\nSELECT status FROM code_take('many ' || :client_id);\nSELECT 1 / count(*) FROM authorizations WHERE code_hash = 'many ' || :client_id AND consumed_at IS NOT NULL;\nROLLBACK;\n");
	sql("SELECT count(code_put('many ' || i, '$grant', 4102444800)) FROM generate_series(0, 31) i");
	command_ok([ 'pgbench', '-n', '-c', 32, '-j', '2', '-t', 1, '-f', $script, '-d', $node->connstr('postgres') ], "32 takes at once, $what");
	until_there();
	is(sql('SELECT count(*) FROM authorization_queue'), 1, 'one queue is published');
	is(sql("SELECT count(*) FROM authorizations WHERE code_hash LIKE 'many %' AND consumed_at IS NOT NULL"), 32, 'and all are spent');
	sql("DELETE FROM authorizations WHERE code_hash LIKE 'many %'");
	return;
}
$session->quit;
until_gone();
many('with a queue that is gone');
sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
many('after it was terminated');
$node->restart;
many('after a restart');

# A crash of the server, by way of the worker and of the postmaster.
my $handle = sql('SELECT segment FROM authorization_queue');
kill_backend($node, sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'"));
is(sql('SELECT count(*) FROM authorization_queue'), 0, 'a crash empties the table that leads to the queue');
many('after the worker was killed');
$node->stop('immediate');
$node->start;
many('after the server was');
is(sql("SELECT count(*) FROM authorization_queue WHERE segment = '$handle'"), 0, 'with another queue');

# A row that leads to nothing, or to the queue of another database, is replaced. One without a row is found again.
my %rows = (
	'nor in time' => q(now(), '1'),
	'to nothing' => "(SELECT server_started_at FROM authorization_queue), '1'",
	'not even a number' => "(SELECT server_started_at FROM authorization_queue), 'x'");
for my $kind (sort keys %rows)
{
	sql("CREATE TABLE planted AS SELECT * FROM (VALUES ($rows{$kind})) planted; TRUNCATE authorization_queue; INSERT INTO authorization_queue TABLE planted; DROP TABLE planted");
	is(in_block("planted $kind"), 'ok', "a take finds a row that leads nowhere, $kind");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 AND min(length(segment)) > 1 FROM authorization_queue");
}

# The segment of another version of the library, as one that was updated leaves it: its version stands at its beginning.
sub make_foreign
{
	my $file = '/dev/shm/PostgreSQL.' . sql('SELECT segment FROM authorization_queue');
	open(my $segment, '+<', $file) or die "$file: $!";
	print $segment pack('a16', '0.0.1');
	close($segment);
	return;
}
SKIP:
{
	skip 'no POSIX shared memory', 8 unless sql('SHOW dynamic_shared_memory_type') eq 'posix';
	sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
	is(in_block('before it was replaced'), 'ok', 'a queue');
	until_there();
	$handle = sql('SELECT segment FROM authorization_queue');
	my $old = $node->background_psql('postgres', on_error_stop => 0);
	$old->query_safe("SELECT count(code_put('of another version ' || i, '$grant', 4102444800)) FROM generate_series(1, 3) i; SELECT puts FROM code_stats()");
	make_foreign();
	like($old->query("BEGIN; SELECT status FROM code_take('of another version 1'); ROLLBACK"), qr/ok/, 'a session of another version, whose worker is there');
	sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
	$old->query("BEGIN; SELECT status FROM code_take('of another version 2'); ROLLBACK");
	like($old->{stderr}, qr/ended without an answer/, 'and whose worker has to be started: an error');
	like(slurp_file($node->logfile), qr/attesto_codes was replaced: a session that loaded it before has to reconnect/, 'the log says what to do');
	is(sql("SELECT count(*) FROM code_get('of another version 2')"), 1, 'the code is live');
	is(sql("BEGIN; SELECT status FROM code_take('of another version 2'); ROLLBACK"), 'ok', 'another session takes it');
	$node->poll_query_until('postgres', "SELECT segment <> '$handle' FROM authorization_queue");
	pass('and another queue is published');
	is(in_block('of this version'), 'ok', 'which the next one finds');
	$old->quit;
}

# A session goes on when the extension was made again.
$session = $node->background_psql('postgres');
$session->query_safe("SELECT code_put('a', '$grant', 4102444800); BEGIN; SELECT status FROM code_take('a'); ROLLBACK");
sql('DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes');
$session->query_safe("SELECT code_put('b', '$grant', 4102444800)");
like($session->query_safe("BEGIN; SELECT status FROM code_take('b'); ROLLBACK"), qr/ok/, 'a session takes in an extension that was made again');
like($session->query_safe("SELECT status FROM code_take('b')"), qr/error/, 'and the code is spent');
is(in_block('c'), 'ok', 'so does another one');
$node->poll_query_until('postgres', "SELECT count(*) <= 1 FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
pass('the worker of the former one leaves');
$session->quit;

# So does one that only puts: it counts where the others look.
$session = $node->background_psql('postgres');
$session->query_safe("SELECT code_put('d', '$grant', 4102444800); SELECT puts FROM code_stats()");
sql('DROP EXTENSION attesto_codes; CREATE EXTENSION attesto_codes');
is(in_block('e'), 'ok', 'a take after the extension was made again');
until_there();
my ($before, $after, $puts) = (sql('SELECT puts FROM code_stats()')) x 2;
for ($puts = 0; $after == $before && $puts < 10 * $PostgreSQL::Test::Utils::timeout_default; $puts++)
{
	$session->query_safe("SELECT code_put('d $puts', '$grant', 4102444800), pg_sleep(0.1)");
	$after = sql('SELECT puts FROM code_stats()');
}
is($after, $before + 1, 'what a session puts is counted with what the others do');
$session->quit;

# A worker keeps its queue, also where a trigger calls functions that look for the published one.
sql(q{CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM public.code_record_access_token(''audit'', ''of '' || NEW.code_hash, 4102444800); RETURN NEW; END';
	CREATE TRIGGER audit AFTER UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION audit()});
is(in_block('audited'), 'ok', 'a take whose trigger calls a function of ours');
$session = $node->background_psql('postgres');
$session->query_safe("SELECT code_put('audited $_', '$grant', 4102444800)") for 1 .. 2;
$session->query_safe("BEGIN; SELECT status FROM code_take('audited 1'); ROLLBACK");
# A process looks once a second: the worker, which has just looked, shall look again, and this session shall not.
$session->query_safe("SELECT pg_sleep(1.1); SELECT code_put('audited 3', '$grant', 4102444800)");
sql('TRUNCATE authorization_queue');
is(in_block('audited elsewhere'), 'ok', 'a take that finds no queue');
like($session->query_safe("BEGIN; SELECT status FROM code_take('audited 2'); ROLLBACK"), qr/ok/, 'one by the worker of the former queue');
$session->quit;
is(sql('SELECT count(*) FROM authorization_access_tokens'), 4, 'each trigger ran');
sql('DROP TRIGGER audit ON authorizations');

# It keeps nobody from its database. A copy has a worker of its own.
in_new_database('dropped');
sql("SET statement_timeout = '4s'; DROP DATABASE dropped");
in_new_database('renamed');
sql("SET statement_timeout = '4s'; ALTER DATABASE renamed RENAME TO other");
pass('a database can be dropped, and renamed, right after a take');
is(in_block('renamed', 'other'), 'ok', 'a take after that');
until_there('other');
sql("SET statement_timeout = '4s'; CREATE DATABASE copy TEMPLATE other");
pass('and copied');
is(in_block('copied', 'copy'), 'ok', 'a take in the copy');
is(in_block('copied too', 'other'), 'ok', 'and in what was copied');
until_there($_) for 'copy', 'other';
is(sql("SELECT count(DISTINCT datname) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident' AND datname IN ('copy', 'other')"), 2, 'each has its worker');
sql("SET statement_timeout = '4s'; DROP DATABASE $_") for 'copy', 'other';

# Nobody finds the queue, and callers give up while their worker starts. A REINDEX of it stops nobody either.
sql("SELECT count(code_put('given up ' || i, '$grant', 4102444800)) FROM generate_series(1, 60) i");
my $holder = $node->background_psql('postgres');
for my $lock ('LOCK TABLE authorization_queue', 'REINDEX INDEX authorization_queue_pkey')
{
	$holder->query_safe("BEGIN; $lock");
	is(error_of($node, "SET statement_timeout = '60s'; SELECT code_put('beside $lock', '$grant', 4102444800); SELECT puts FROM code_stats()"), '', "a put and the counters beside $lock");
	my $timeout = 0;
	$node->psql('postgres', "SET statement_timeout = '" . (1 + $timeout++ % 6) . "ms';\nBEGIN;\nSELECT status FROM code_take('given up $_');") for 1 .. 60;
	is(in_block("beside a take, $lock"), 'ok', "a take beside $lock");
	$holder->query_safe('ROLLBACK');
}
$holder->quit;
unlike(slurp_file($node->logfile), qr/terminated by signal 11/, 'no worker crashes the server');

# One place for all databases.
$node->stop;
$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_parallel_workers = 0\nmax_logical_replication_workers = 0");
$node->start;
is(in_block('one place'), 'ok', 'with one place for a worker');
until_there();
many('with one place');
sql('CREATE DATABASE other');
sql('CREATE EXTENSION attesto_codes', 'other');
my $n = 0;
is(in_block('place ' . $n++, $_), 'ok', "a worker without work makes room for that of another database: $_") for 'other', 'postgres', 'other';

# A worker that has work now and then does so, too.
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, "SELECT gen_random_uuid() AS code \\gset\nSELECT code_put(:code::text, '$grant', 4102444800);\nBEGIN;\nSELECT code_take(:code::text);\nROLLBACK;\n");
my $load = IPC::Run::start([ 'pgbench', '-n', '-M', 'prepared', '-c', 3, '-T', 6, '-f', $script, $node->connstr('postgres') ], '>', '/dev/null');
until_there();
is(in_block('beside others', 'other'), 'ok', 'a worker with work makes room for that of another database');
ok($load->finish, 'and has its place again');

$node->stop;
pass('the server stops with a resident worker');

done_testing();
